"""`pemt export`: a run becomes a SavedModel."""

from __future__ import annotations

from pathlib import Path

from pemt_tf.commands.arguments import add_command, say


def add(commands) -> None:
    """Declares the command."""
    command = add_command(
        commands,
        "export",
        _run,
        "write a SavedModel for TF Serving, in the next numbered version folder",
        "pemt export --model out/finetuned --output out/servable\n"
        "  pemt export --model out/finetuned --output out/servable --weights float16",
    )
    command.add_argument("--model", required=True, help="run of `pemt finetune` or `pemt pretrain`")
    command.add_argument("--output", required=True, help="folder of versions, the model's base path in TF Serving")
    command.add_argument(
        "--weights",
        choices=("float32", "float16", "int8"),
        default="float32",
        help="how to store them; the smaller ones are widened at every request (default: %(default)s)",
    )


def _run(options) -> None:
    from pemt_tf.export.saved_model import export_version
    from pemt_tf.training.run_directory import RunDirectory

    path = export_version(RunDirectory(Path(options.model)), Path(options.output), options.weights)
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    say(f"SavedModel: {path} ({size / 1e6:.1f} MB, {options.weights} weights)")

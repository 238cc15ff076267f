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
        "pemt export --model out/finetuned --output out/servable",
    )
    command.add_argument("--model", required=True, help="run of `pemt finetune` or `pemt pretrain`")
    command.add_argument("--output", required=True, help="folder of versions, the model's base path in TF Serving")


def _run(options) -> None:
    from pemt_tf.export.saved_model import export_version
    from pemt_tf.training.run_directory import RunDirectory

    say(f"SavedModel: {export_version(RunDirectory(Path(options.model)), Path(options.output))}")

"""`pemt demo`: everything once."""

from __future__ import annotations

from pathlib import Path

from pemt_tf.commands.arguments import add_command, add_overrides, say, seed_number


def add(commands) -> None:
    """Declares the command."""
    command = add_command(
        commands,
        "demo",
        _run,
        "run the whole way, from video files to a served prediction and a report",
        "pemt demo --output out/demo\n  pemt demo --output out/mine --videos /my/videos",
    )
    command.add_argument("--output", required=True, help="a new folder, or that of an interrupted demo")
    command.add_argument("--videos", help="your own videos; sub-folder names are labels (default: a made corpus)")
    command.add_argument("--seed", type=seed_number, default=0, help="of the made corpus and the training")
    add_overrides(command, "override one field of the training, such as pretrain.steps=5000; may be repeated")


def _run(options) -> None:
    from pemt_tf.demo.run import run_demo

    videos = Path(options.videos) if options.videos else None
    run_demo(Path(options.output), videos, options.seed, options.set, say)

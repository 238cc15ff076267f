"""`pemt convert`: turns the authors' checkpoint into a run."""

from __future__ import annotations

import argparse
from pathlib import Path

from pemt_tf.commands.arguments import Commands, add_command, add_overrides, say
from pemt_tf.files.output_check import require_writable_folder

SUMMARY = "turn the authors' PyTorch checkpoint into a run, without torch and without running its pickle code"


def add(commands: Commands) -> None:
    command = add_command(commands, "convert", _run, SUMMARY, "pemt convert checkpoint.pyth out/converted")
    command.add_argument("checkpoint", help="the authors' file, zip or legacy format")
    command.add_argument("output", help="folder of the run, for finetune, evaluate and export")
    command.add_argument("--allow-missing", action="store_true", help="accept names that are missing or left over")
    command.add_argument("--labels", nargs="+", help="names of the classes, in the head's order")
    fields = "model.heads=4, model.layers=2, model.rotation=cayley"
    add_overrides(command, f"what shapes do not tell, for other sizes than the released: {fields}")


def _run(options: argparse.Namespace) -> None:
    from pemt_tf.convert.checkpoint_converter import convert_checkpoint

    require_writable_folder(Path(options.output), "output")
    report = convert_checkpoint(options.checkpoint, options.output, options.allow_missing, options.set, options.labels)
    for kind, names in (("missing", report.missing), ("left over", report.left_over)):
        for name in names:
            say(f"{kind}: {name}")
    say(f"{len(report.assigned)} weights converted: {options.output}")

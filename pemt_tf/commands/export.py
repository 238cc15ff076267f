"""`pemt export`: turns a run into a SavedModel."""

from __future__ import annotations

import argparse
from pathlib import Path

from pemt_tf.commands.arguments import Commands, add_command, say

SUMMARY = "write a SavedModel for TF Serving, in the next numbered version folder"
EXAMPLE = """pemt export --model out/finetuned --output out/servable
  pemt export --model out/finetuned --output out/servable --weights float16"""


def add(commands: Commands) -> None:
    add = add_command(commands, "export", _run, SUMMARY, EXAMPLE).add_argument
    add("--model", required=True, help="run of `pemt finetune` or `pemt pretrain`")
    add("--output", required=True, help="folder of versions, the model's base path in TF Serving")
    weights = "storage of weights; float16 and int8 are converted to float32 at every request (default: %(default)s)"
    add("--weights", choices=("float32", "float16", "int8"), default="float32", help=weights)


def _run(options: argparse.Namespace) -> None:
    from pemt_tf.export.saved_model import export_version
    from pemt_tf.training.run_directory import RunDirectory

    path = export_version(RunDirectory(Path(options.model)), Path(options.output), options.weights)
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    say(f"SavedModel: {path} ({size / 1e6:.1f} MB, {options.weights} weights)")

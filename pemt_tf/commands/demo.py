"""`pemt demo`: the whole way once, on a small corpus."""

from __future__ import annotations

import argparse
from pathlib import Path

from pemt_tf.commands.arguments import Commands, add_command, add_overrides, say, seed_number

SUMMARY = "run the whole way, from video files to a served prediction and a report"
EXAMPLE = """pemt demo --output out/demo
  pemt demo --output out/mine --videos /my/videos"""


def add(commands: Commands) -> None:
    command = add_command(commands, "demo", _run, SUMMARY, EXAMPLE)
    command.add_argument("--output", required=True, help="a new folder, or that of an interrupted demo")
    command.add_argument("--videos", help="your own videos; sub-folder names are labels (default: a synthetic corpus)")
    command.add_argument("--seed", type=seed_number, default=0, help="random seed of the corpus and the training")
    add_overrides(command, "override one field of the training, such as pretrain.steps=5000; may be repeated")


def _run(options: argparse.Namespace) -> None:
    from pemt_tf.demo.run import run_demo

    videos = Path(options.videos) if options.videos else None
    run_demo(Path(options.output), videos, options.seed, options.set, say)

"""`pemt report`: writes a page and a model card about one run."""

from __future__ import annotations

import argparse
from pathlib import Path

from pemt_tf.commands.arguments import DATA, Commands, add_command, say

SUMMARY = "write report.html and MODEL_CARD.md about a run"


def add(commands: Commands) -> None:
    add = add_command(commands, "report", _run, SUMMARY, "pemt report out/finetuned --data out/records").add_argument
    add("run_folder", metavar="RUN", help="run of `pemt pretrain` or `pemt finetune`, finished or not")
    add("--data", type=Path, help=f"{DATA}: adds nearest clips and attention")
    add("--output", type=Path, help="folder to write to (default: the run's)")
    add("--clips", type=int, default=4, help="held-out clips to show (default: %(default)s)")
    add("--search", type=int, default=300, help="training clips to search for neighbours (default: %(default)s)")


def _run(options: argparse.Namespace) -> None:
    from pemt_tf.report.run_report import report_run

    for path in report_run(Path(options.run_folder), options.data, options.output, options.clips, options.search):
        say(f"{path}")

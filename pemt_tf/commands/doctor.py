"""`pemt doctor`: checks this machine and its packages."""

from __future__ import annotations

import argparse

from pemt_tf.commands.arguments import Commands, add_command

SUMMARY = "check Python, packages, processor, GPU, codecs and disk, and say what to fix"
EXAMPLE = """pemt doctor
  pemt doctor --data out/records --output out/run
  pemt doctor --json
  python -m pemt_tf.doctor    (where `pemt` itself does not start)"""


def add(commands: Commands) -> None:
    command = add_command(commands, "doctor", _run, SUMMARY, EXAMPLE)
    command.add_argument("--json", action="store_true", help="one JSON object instead of text")
    command.add_argument("--data", metavar="DIR", help="also read a data set of beam_jobs.preprocess to its end")
    command.add_argument("--output", metavar="DIR", help="also check the disk of a folder to be written")


def _run(options: argparse.Namespace) -> int:
    from pemt_tf.doctor.examination import run

    return run(options.data, options.output, options.json)

"""`pemt pipeline`: copies the template of the TFX pipeline into a project, and runs a pipeline."""

from __future__ import annotations

import argparse
from pathlib import Path

from pemt_tf.commands.arguments import add_command, say

EXAMPLE = """pemt pipeline init project
  cd project && tfx pipeline run --pipeline-path pipeline/local_runner.py"""


def add(commands) -> None:
    """Declares the command and its parts."""
    command = add_command(commands, "pipeline", _init, "start a TFX pipeline of your own, and run it", EXAMPLE)
    parts = command.add_subparsers(required=True, metavar="COMMAND")
    init = add_command(parts, "init", _init, "copy the template to DIR/pipeline, where you edit it", EXAMPLE)
    init.add_argument("folder", metavar="DIR", type=Path, help="your project's folder; DIR/pipeline must not exist")
    # With this prefix all words are positional: `tfx pipeline run` reads its flags itself, --help included.
    run = parts.add_parser("run", prefix_chars="\0", add_help=False, help="the same as `tfx pipeline run`")
    run.add_argument("arguments", nargs="*")
    run.set_defaults(run=_run)


def _init(options: argparse.Namespace) -> None:
    from pemt_tf.orchestration.template_copy import copy_template
    from pemt_tf.terminal.console_script import TFX, find_console_script

    script = find_console_script("tfx")
    command = "tfx" if script is None or script.module == TFX else "pemt"  # TFX's own command has no `pipeline run`
    copy_template(options.folder)
    say(f"your pipeline is in {options.folder / 'pipeline'}: settings in config.yaml, nodes in pipeline.py. Next:")
    say(f"  cd {options.folder}")
    say("  python -m beam_jobs.preprocess --input VIDEOS --output data --preset tiny")
    say(f"  PEMT_PIPELINE_DATA=data {command} pipeline run --pipeline-path pipeline/local_runner.py")


def _run(options: argparse.Namespace) -> int:
    from pemt_tf.orchestration.running.tfx_command import main

    return main(["pipeline", "run", *options.arguments])

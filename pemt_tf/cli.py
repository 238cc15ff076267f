"""`pemt`: the command line. Each command is a module of `pemt_tf.commands`."""

from __future__ import annotations

import sys

from pemt_tf import __version__
from pemt_tf.commands import (
    convert,
    demo,
    doctor,
    evaluate,
    explore,
    export,
    finetune,
    params,
    pipeline,
    predict,
    pretrain,
    probe,
    report,
    search,
    serve_config,
    serve_status,
)
from pemt_tf.terminal.exit_code import exit_code_of
from pemt_tf.terminal.flags import FlagParser

# In the order of `--help`.
COMMANDS = (
    params,
    pretrain,
    finetune,
    evaluate,
    probe,
    export,
    predict,
    serve_config,
    serve_status,
    search,
    explore,
    report,
    pipeline,
    convert,
    doctor,
    demo,
)


def main(arguments: list[str] | None = None) -> int:
    """Entry point of the `pemt` command; returns the exit code: 0 done, 2 bad input, 130 stopped, 1 from `doctor`."""

    def work() -> int | None:
        options = make_parser().parse_args(arguments)
        return options.run(options)

    return exit_code_of(work)


def make_parser() -> FlagParser:
    """The parser of all commands."""
    parser = FlagParser(
        prog="pemt",
        description="Parameter-efficient multimodal Transformers for video: pretrain, fine-tune, evaluate, serve.",
        epilog="Records are made by `python -m beam_jobs.preprocess`. Every command has --help with an example.",
    )
    parser.add_argument("--version", action="version", version=f"pemt-tf {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())

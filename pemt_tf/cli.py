"""`pemt`: the command line. Each command is a module of `pemt_tf.commands`."""

from __future__ import annotations

import argparse
import os
import sys
import warnings

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
from pemt_tf.errors import PemtError, in_one_line
from pemt_tf.files.names import make_streams_printable
from pemt_tf.terminal.quiet_import import quiet_tensorflow
from pemt_tf.training.interruption import stopped_by_sigterm

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
    quiet_libraries()
    make_streams_printable()
    options = _parser().parse_args(arguments)
    try:
        with stopped_by_sigterm():
            return options.run(options) or 0
    except PemtError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("stopped\n")
        return 130
    except BrokenPipeError:  # `pemt ... | head`
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123 - the interpreter flushes it at exit
        return 0
    except Exception as error:
        line = in_one_line(error)
        if line is None:
            raise
        sys.stderr.write(f"error: {line}\n")
        return 2


def quiet_libraries() -> None:
    """Keeps TensorFlow's start-up notes and third-party version warnings off the user's screen."""
    quiet_tensorflow()
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=DeprecationWarning)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
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

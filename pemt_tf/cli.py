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
    predict,
    pretrain,
    probe,
    report,
    search,
    serve_config,
    serve_status,
)
from pemt_tf.errors import PemtError, system_error
from pemt_tf.names import make_streams_printable
from pemt_tf.quiet_import import quiet_tensorflow

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
    except OSError as error:  # a name that is too long, a folder that may not be looked into
        sys.stderr.write(f"error: {system_error(error)}\n")
        return 2
    except Exception as error:
        # Known by its name: TensorFlow is imported by the commands that need it, not here.
        if not isinstance(error, MemoryError) and type(error).__name__ != "ResourceExhaustedError":
            raise
        sys.stderr.write(f"error: {_out_of_memory(error)}\n")
        return 2


def _out_of_memory(error: Exception) -> str:
    said = [line.strip() for line in str(getattr(error, "message", error)).splitlines() if "OOM" in line]
    return (
        f"out of memory ({said[0][:200] if said else type(error).__name__}); needs less: a smaller batch_size, "
        "--set pretrain.accumulation=8, --set model.remat=true, or --set pretrain.precision=mixed_bfloat16; "
        "see docs/faq.md"
    )


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

"""How every command ends for its user: an exit code, and one line where something went wrong."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable

from pemt_tf.errors import PemtError, in_one_line
from pemt_tf.files.names import make_streams_printable
from pemt_tf.terminal.interruption import stopped_by_sigterm
from pemt_tf.terminal.quiet_import import quiet_tensorflow


def exit_code_of(work: Callable[[], int | None], interrupted: str = "stopped") -> int:
    """Runs a command; returns what it returns, 0 for None, 2 for an error, or 130 for an interruption.

    A `PemtError`, and what the system or a library says, becomes one line on standard error. Any other exception is a
    defect of ours and keeps its traceback. SIGTERM stops the command as Ctrl-C does; `interrupted` is then the line,
    unless the interruption has its own. `work` imports TensorFlow itself, so that `--help` is quick.
    """
    quiet_tensorflow()
    make_streams_printable()
    for category in (FutureWarning, DeprecationWarning):  # of other packages; users can do nothing about them
        warnings.filterwarnings("ignore", category=category)
    try:
        with stopped_by_sigterm():
            return work() or 0
    except PemtError as error:
        line: str | None = str(error)
    except KeyboardInterrupt as error:
        sys.stderr.write(f"{str(error) or interrupted}\n")
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

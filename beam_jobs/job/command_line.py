"""What the commands of this package have in common: kinds of numbers, and how a run ends for the user."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterable
from typing import NoReturn

from pemt_tf.errors import PemtError, in_one_line
from pemt_tf.files.names import make_streams_printable
from pemt_tf.terminal.quiet_import import quiet_tensorflow


def not_negative(text: str) -> int:
    """A whole number from 0."""
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is below 0")
    return value


def positive(text: str) -> int:
    """A whole number above 0."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def positive_number(text: str) -> float:
    """A number above 0."""
    value = float(text)
    if not 0 < value < 1e9:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def fraction(text: str) -> float:
    """A share from 0 to 1."""
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not a share from 0 to 1")
    return value


def run(work: Callable[[], Iterable[str]], interrupted: str) -> int:
    """Does the work and prints the lines that it gives; errors of users and interruptions become one line.

    Args:
        work: the job. It imports what is heavy itself, so that `--help` is quick.
        interrupted: what to say where an interruption brings no words of its own.

    Returns:
        The exit code.
    """
    quiet_tensorflow()
    make_streams_printable()
    warnings.simplefilter("ignore", FutureWarning)  # Beam's Google libraries speak of Python versions
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL + 1)  # what fails is told by us, in one line
    previous = signal.getsignal(signal.SIGTERM)
    try:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        for line in work():
            sys.stdout.write(f"{line}\n")
        return 0
    except PemtError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    except KeyboardInterrupt as error:
        sys.stderr.write(f"{str(error) or interrupted}\n")
        return 130
    except Exception as error:
        line = in_one_line(error)
        if line is None:
            raise
        sys.stderr.write(f"error: {line}\n")
        return 2
    finally:
        signal.signal(signal.SIGTERM, previous)


def leave(code: int) -> NoReturn:
    """Ends the process."""
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads of a Beam job that was cut off would keep the process alive.
    os._exit(code) if code else sys.exit(code)

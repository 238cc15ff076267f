"""What the commands of this package have in common: kinds of numbers, and how a run ends for the user."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

from pemt_tf.errors import PemtError
from pemt_tf.terminal.exit_code import exit_code_of
from pemt_tf.terminal.flags import FlagParser, UnknownOptionError


def _number(name: str, kind: Callable[[str], Any], is_good: Callable[[Any], bool], fault: str) -> Callable[[str], Any]:
    """A `type` of argparse, which shows its name where the text is no number."""

    def read(text: str) -> Any:
        value = kind(text)
        if not is_good(value):
            raise argparse.ArgumentTypeError(f"{text} is {fault}")
        return value

    read.__name__ = name
    return read


not_negative = _number("not_negative", int, lambda value: value >= 0, "below 0")
positive = _number("positive", int, lambda value: value >= 1, "not above 0")
positive_number = _number("positive_number", float, lambda value: 0 < value < 1e9, "not above 0")
fraction = _number("fraction", float, lambda value: 0 <= value <= 1, "not a share from 0 to 1")


def job_parser(name: str, description: str, examples: str, *, passes_on: bool = True) -> FlagParser:
    """An empty parser for the flags of the job `beam_jobs.NAME`; by default it leaves unknown words to Beam."""
    return FlagParser(
        prog=f"python -m beam_jobs.{name}",
        description=description,
        epilog=examples,
        allow_abbrev=False,
        passes_on=passes_on,
    )


def add_limits(group: argparse._ActionsContainer, consequence: str) -> None:
    """Adds the flags that limit failures, time and memory; `consequence` is that of too many failures."""
    group.add_argument(
        "--max_bad_fraction",
        type=fraction,
        default=1.0,
        help=f"{consequence} if more than this share of the inputs failed (default: 1, only if all did)",
    )
    group.add_argument(
        "--decode_timeout", type=positive_number, default=120.0, help="seconds a clip may take (default: 120)"
    )
    group.add_argument(
        "--decode_memory_mb", type=positive, default=4096, help="MiB that a decoding process may take (default: 4096)"
    )


def parse(parser: FlagParser, arguments: Sequence[str]) -> tuple[argparse.Namespace, tuple[str, ...]]:
    """The job's flags, and the words that are left for Beam. A word before any flag of Beam's ends the process."""
    parsed, rest = parser.parse_known_args(arguments)
    if rest and not rest[0].startswith("-"):
        parser.refuse(rest[0])
    return parsed, tuple(rest)


def run(work: Callable[[], Iterable[str]], interrupted: str, parser: FlagParser) -> int:
    """Prints the lines of a job, which imports what is heavy itself; returns the exit code."""
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL + 1)  # our own line says what failed

    def print_lines() -> None:
        try:
            for line in work():
                sys.stdout.write(f"{line}\n")
        except UnknownOptionError as error:  # Beam's flags are known only once it is loaded
            raise PemtError(f"{error}{parser.meant(error.word)}") from None

    return exit_code_of(print_lines, interrupted)


def leave(code: int) -> NoReturn:
    """Ends the process."""
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads of a Beam job that was cut off would keep the process alive.
    os._exit(code) if code else sys.exit(code)

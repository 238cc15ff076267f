"""Runs a command in a process of its own."""

from __future__ import annotations

import contextlib
import signal
import subprocess
from collections.abc import Iterator, Sequence
from types import FrameType

from pemt_tf.terminal.interruption import handling

STOPPED = 130


def run_and_wait(arguments: Sequence[str]) -> int:
    """Runs a program to its end and returns its exit code, or `STOPPED` after a SIGTERM.

    Ctrl-C reaches the child as well, which then saves its work; this function waits for it, whereas `subprocess.run`
    would kill it a quarter of a second later. SIGTERM is passed on to the child.
    """
    with (
        handling(lambda number, frame: None, signal.SIGINT),  # a child does not inherit it
        subprocess.Popen(arguments) as process,
        passing_on_sigterm(process) as came,
    ):
        code = process.wait()
        return STOPPED if came else code


@contextlib.contextmanager
def passing_on_sigterm(process: subprocess.Popen) -> Iterator[list[int]]:
    """Passes SIGTERM on to a child within the block; yields the list of those that came."""
    came: list[int] = []

    def pass_on(number: int, frame: FrameType | None) -> None:
        came.append(number)
        process.terminate()

    with handling(pass_on, signal.SIGTERM):
        yield came

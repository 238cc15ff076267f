"""Runs a command in a process of its own."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from types import FrameType

STOPPED = 130


def run_and_wait(arguments: Sequence[str]) -> int:
    """Runs a program to its end and returns its exit code, or `STOPPED` after a SIGTERM.

    Ctrl-C reaches the child as well, which then saves its work; this function waits for it, whereas `subprocess.run`
    would kill it a quarter of a second later. SIGTERM is passed on to the child.
    """
    with subprocess.Popen(arguments) as process, passing_on_sigterm(process) as came:
        while True:
            try:
                code = process.wait()
                return STOPPED if came else code
            except KeyboardInterrupt:
                continue


@contextlib.contextmanager
def passing_on_sigterm(process: subprocess.Popen) -> Iterator[list[int]]:
    """Passes SIGTERM on to a child within the block; yields the list of those that came."""
    came: list[int] = []

    def pass_on(number: int, frame: FrameType | None) -> None:
        came.append(number)
        process.terminate()

    if threading.current_thread() is not threading.main_thread():
        yield came
        return
    before = signal.signal(signal.SIGTERM, pass_on)
    try:
        yield came
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)

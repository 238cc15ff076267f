"""Runs a command of ours in a process of its own."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence

STOPPED = 130


def run_and_wait(arguments: Sequence[str]) -> int:
    """Runs a program to its end and returns its exit code; that of an interruption if SIGTERM came meanwhile.

    An interrupt from the keyboard reaches the child as well, which saves what it has: here is only to wait for it.
    `subprocess.run` would kill it a quarter of a second later. SIGTERM is passed on.
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
    """While it lasts SIGTERM goes on to a child, for which one then has to wait; yields those that came."""
    came: list[int] = []

    def pass_on(number, frame):
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

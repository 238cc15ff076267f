"""Runs a command of ours in a process of its own."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence


def run_and_wait(arguments: Sequence[str]) -> int:
    """Runs a program to its end and returns its exit code.

    An interrupt from the keyboard reaches the child as well, which saves what it has: here is only to wait for it.
    `subprocess.run` would kill it a quarter of a second later.
    """
    with subprocess.Popen(arguments) as process:
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:
                continue

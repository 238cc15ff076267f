"""Runs the process of a pipeline run and shows its nodes meanwhile."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable
from typing import IO

from pemt_tf.orchestration.running.live_table import LiveTable
from pemt_tf.orchestration.running.run_report import RunReport
from pemt_tf.terminal.child_process import passing_on_sigterm

_SECONDS = 1.0
_TO_KEEP = ("error: ", "note: ", "interrupted")


def watch(command: list[str], title: str, report: Callable[[], RunReport | None]) -> int:
    """Runs a command and shows the state of its nodes meanwhile; returns its exit code.

    On a terminal what it writes to standard error is a line below the table; elsewhere it is left as it is. An
    interrupt from the keyboard reaches the command as well, which saves what it has: here is only to wait for it.
    SIGTERM is passed on.

    Args:
        command: to be run.
        title: of the table.
        report: says how things stand; None if that cannot be told at the moment.
    """
    with LiveTable(title) as table:
        stderr = subprocess.PIPE if table.on_terminal else None
        with subprocess.Popen(command, stderr=stderr, text=True) as process, passing_on_sigterm(process):
            last = [""]
            reader = threading.Thread(target=_follow, args=(process.stderr, table, last), daemon=True)
            if table.on_terminal:
                reader.start()
            while True:
                try:
                    process.wait(timeout=_SECONDS)
                    break
                except subprocess.TimeoutExpired:
                    _show(table, report(), last[0])
                except KeyboardInterrupt:
                    continue
            if table.on_terminal:
                reader.join()
        _show(table, report(), "")
    return process.returncode


def _show(table: LiveTable, report: RunReport | None, detail: str) -> None:
    if report is not None:
        table.show(report, detail)


def _follow(stream: IO[str], table: LiveTable, last: list[str]) -> None:
    """Keeps the last line; what is no progress stays on the screen."""
    for text in stream:
        last[0] = text.rstrip()
        if last[0].startswith(_TO_KEEP):
            table.say(last[0])

"""Runs the process of a pipeline run and shows the state of its nodes."""

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
    """Runs a command and shows the state of its nodes; returns its exit code.

    On a terminal its last line of standard error is shown below the table; elsewhere its output is left as it is.
    Ctrl-C reaches the command as well, which saves its work; this process only waits for it. SIGTERM is passed on.
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
    """Keeps the last line, and shows lines that are not progress permanently."""
    for text in stream:
        last[0] = text.rstrip()
        if last[0].startswith(_TO_KEEP):
            table.say(last[0])

"""The table of nodes during a run: updated in place on a terminal, elsewhere a line for each change."""

from __future__ import annotations

import sys
import time
from typing import TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pemt_tf.orchestration.running.run_report import NOT_RUN, RUNNING, RunReport
from pemt_tf.terminal.progress import duration

_STYLES = {"COMPLETE": "green", "CACHED": "cyan", "FAILED": "bold red", RUNNING: "bold yellow", NOT_RUN: "dim"}


class LiveTable:
    """Shows reports of one run as they come. Use it as a context manager."""

    def __init__(self, title: str, stream: TextIO | None = None):
        self._title, self._stream = title, stream or sys.stderr
        self.on_terminal = self._stream.isatty()
        self._shown: dict[str, str] = {}
        self._live = Live(console=Console(file=self._stream), transient=True, auto_refresh=False)

    def __enter__(self) -> LiveTable:
        if self.on_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.on_terminal:
            self._live.stop()

    def show(self, report: RunReport, detail: str = "") -> None:
        """Shows the current state."""
        if self.on_terminal:
            self._live.update(Group(self._table(report), Text(detail, overflow="ellipsis", no_wrap=True)), refresh=True)
            return
        for node, state in report.states.items():
            if state not in (NOT_RUN, self._shown.get(node)):
                self._shown[node] = state
                took = f", {duration(report.seconds[node])}" if node in report.seconds and state != RUNNING else ""
                self._stream.write(f"{time.strftime('%H:%M:%S')} {node} {state}{took}\n")
        self._stream.flush()

    def say(self, line: str) -> None:
        """Writes a permanent line above the table."""
        if self.on_terminal:
            self._live.console.print(line, markup=False, highlight=False)
        else:
            self._stream.write(line + "\n")

    def _table(self, report: RunReport) -> Table:
        table = Table(title=self._title, title_justify="left", box=None, padding=(0, 2, 0, 0))
        table.add_column("node")
        table.add_column("state")
        table.add_column("time", justify="right")
        for node, state in report.states.items():
            took = duration(report.seconds[node]) if node in report.seconds and state != "CACHED" else ""
            table.add_row(node, Text(state if state != NOT_RUN else "", _STYLES.get(state, "")), took)
        return table

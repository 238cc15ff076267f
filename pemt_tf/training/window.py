"""Means of the metrics between two log lines."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


class Window:
    """Sums and counts since the last log line; checkpoints hold them, so that a resumed run logs the same means."""

    def __init__(self, sums: dict[str, list[float]] | None = None) -> None:  # metric to [sum, count]
        self.sums: dict[str, list[float]] = {name: list(pair) for name, pair in (sums or {}).items()}
        self.restart_clock()

    def restart_clock(self) -> None:
        """Excludes earlier time from the speed."""
        self._steps = 0
        self._waited = 0.0
        self._started = time.monotonic()

    def timed(self, function: Callable[..., T], *arguments: Any) -> T:
        """Calls a function and counts its time as waiting for input."""
        start = time.monotonic()
        result = function(*arguments)
        self._waited += time.monotonic() - start
        return result

    def add(self, metrics: dict[str, float]) -> None:
        """Adds the metrics of a step; some steps may lack a metric."""
        for name, value in metrics.items():
            pair = self.sums.setdefault(name, [0.0, 0])
            pair[0], pair[1] = pair[0] + value, pair[1] + 1
        self._steps += 1

    def means(self) -> dict[str, float]:
        """The mean of every metric over its steps."""
        return {name: total / count for name, (total, count) in self.sums.items()}

    def speed(self, clips_per_step: int) -> dict[str, float]:
        """`examples_per_second`, and `input_wait_share`: the share of the time spent waiting for input."""
        elapsed = max(time.monotonic() - self._started, 1e-9)
        return {
            "examples_per_second": self._steps * clips_per_step / elapsed,
            "input_wait_share": min(self._waited / elapsed, 1.0),
        }

"""How fast long work goes, and how long the rest will take: told only when there is something to go by."""

from __future__ import annotations

import time

LEAST_UNITS = 5  # done after the first, before the time left is told
LEAST_SECONDS = 5.0  # in which they were done


class Pace:
    """Reckons from the end of the first unit on, whose time is mostly that of imports, compiling or loading a model."""

    def __init__(self, done: int = 0) -> None:
        """Args: done: units that earlier work has done."""
        self._begun_with = self._done = done
        self._since: float | None = None  # when the first unit was done
        self._first = done

    def restart(self, done: int) -> None:
        """Reckons from now on: what came before, as compiling, does not come again."""
        self._since, self._first, self._done = time.monotonic(), done, done

    def note(self, done: int) -> None:
        """Takes the number of units that are done by now."""
        if self._since is None and done > self._begun_with:
            self.restart(done)
        self._done = done

    @property
    def rate(self) -> float | None:
        """Units a second; None where none has been done since the first."""
        if self._since is None or self._done <= self._first:
            return None
        return (self._done - self._first) / max(time.monotonic() - self._since, 1e-9)

    def seconds_left(self, total: int) -> float | None:
        """Seconds until `total` units are done; None where that cannot be told yet, or all are done."""
        if self._since is None or self._done >= total:
            return None
        if self._done - self._first < LEAST_UNITS or time.monotonic() - self._since < LEAST_SECONDS:
            return None
        return (total - self._done) / self.rate

"""One line of progress: rewritten in place on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TextIO

LEAST_UNITS = 5  # done after the first, before the time left is told
LEAST_SECONDS = 5.0  # in which they were done
_TERMINAL_SECONDS = 0.2
_LOG_SECONDS = 10.0


def duration(seconds: float) -> str:
    """Seconds as `1:02:03` or `2:03`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class Pace:
    """Measures the rate from the end of the first unit, which mostly waits for imports, compiling or a model."""

    def __init__(self, done: int = 0) -> None:
        """Args: done: number of units that were done before."""
        self._begun_with = self._done = done
        self._since: float | None = None  # when the first unit was done
        self._first = done

    def restart(self, done: int) -> None:
        """Measures from now on; what came before, such as compiling, does not happen again."""
        self._since, self._first, self._done = time.monotonic(), done, done

    def note(self, done: int) -> None:
        """Takes the number of units done so far."""
        if self._since is None and done > self._begun_with:
            self.restart(done)
        self._done = done

    @property
    def rate(self) -> float | None:
        """Units per second; None if none has been done since the first."""
        if self._since is None or self._done <= self._first:
            return None
        return (self._done - self._first) / max(time.monotonic() - self._since, 1e-9)

    def seconds_left(self, total: int) -> float | None:
        """Seconds until `total` units are done; None if that is not known yet, or all are done."""
        done, rate = self._done - self._first, self.rate
        if self._since is None or rate is None or self._done >= total:
            return None
        if done < LEAST_UNITS or time.monotonic() - self._since < LEAST_SECONDS:
            return None
        return (total - self._done) / rate


class Progress:
    """Shows done / total and, once they are known, rate and time left, on standard error.

    Args:
        what: first word of the line.
        unit: what the rate counts; one of `total` is `units_per_step` of them.
        done: number done before, when work is resumed.
    """

    def __init__(
        self, what: str, total: int, unit: str, done: int = 0, stream: TextIO | None = None, units_per_step: int = 1
    ) -> None:
        self.what, self.total, self.unit, self.done = what, total, unit, done
        self._units_per_step = units_per_step
        self._stream = stream or sys.stderr
        self._terminal = self._stream.isatty()
        self._pace = Pace(done)
        self._shown = 0.0
        self._width = 0

    def restart_clock(self, done: int) -> None:
        """Leaves out of the rate what came before, as compiling does not come again."""
        self._pace.restart(done)

    def update(self, done: int, detail: str = "") -> None:
        """Moves on; writes only if the last line is old enough."""
        self.done = done
        self._pace.note(done)
        now = time.monotonic()
        if now - self._shown >= (_TERMINAL_SECONDS if self._terminal else _LOG_SECONDS):
            self._shown = now
            self._write(self._line(detail), end="")

    def close(self, detail: str = "") -> None:
        """Writes the last line."""
        self._write(self._line(detail), end="\n")

    def _line(self, detail: str) -> str:
        self._pace.note(self.done)
        rate, left = self._pace.rate, self._pace.seconds_left(self.total)
        parts = [
            f"{self.what} {self.done}/{self.total}",
            "" if rate is None else f"{rate * self._units_per_step:.1f} {self.unit}/s",
            "" if left is None else f"{duration(left)} left",
            detail,
        ]
        return ", ".join(part for part in parts if part)

    def say(self, line: str) -> None:
        """Writes a line of its own, above the line of progress."""
        self._write(line, end="\n")

    def _write(self, line: str, end: str) -> None:
        if self._terminal:
            self._stream.write("\r" + line.ljust(self._width) + end)
            self._width = len(line)
        else:
            self._stream.write(line + "\n")
        self._stream.flush()

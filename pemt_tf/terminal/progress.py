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
        self._begun_with = self._first = done
        # The end of the first unit, which mostly waits for imports, compiling or a model.
        self._since: float | None = None
        self._shown, self._width = 0.0, 0

    def restart_clock(self, done: int) -> None:
        """Measures the rate from now on; what came before, such as compiling, does not happen again."""
        self._since, self._first = time.monotonic(), done

    def update(self, done: int, detail: str = "") -> None:
        """Moves on; writes only if the last line is old enough."""
        self.done = done
        if self._since is None and done > self._begun_with:
            self.restart_clock(done)
        now = time.monotonic()
        if now - self._shown >= (_TERMINAL_SECONDS if self._terminal else _LOG_SECONDS):
            self._shown = now
            self._write(self._line(detail), end="")

    def close(self, detail: str = "") -> None:
        """Writes the last line."""
        self._write(self._line(detail), end="\n")

    def _line(self, detail: str) -> str:
        rate, left = self._rate_and_seconds_left()
        parts = [
            f"{self.what} {self.done}/{self.total}",
            "" if rate is None else f"{rate * self._units_per_step:.1f} {self.unit}/s",
            "" if left is None else f"{duration(left)} left",
            detail,
        ]
        return ", ".join(part for part in parts if part)

    def _rate_and_seconds_left(self) -> tuple[float | None, float | None]:
        """Units of `total` per second, and the seconds until all are done; None while either is not known."""
        done = self.done - self._first
        if self._since is None or done <= 0:
            return None, None
        seconds = time.monotonic() - self._since
        rate = done / max(seconds, 1e-9)
        known = self.done < self.total and done >= LEAST_UNITS and seconds >= LEAST_SECONDS
        return rate, (self.total - self.done) / rate if known else None

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

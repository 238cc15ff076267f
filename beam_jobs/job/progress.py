"""One line of progress while the job runs: done/total, good and bad and, once they are known, rate and time left."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from pathlib import Path
from typing import TextIO

from beam_jobs.worker.outcomes import FAILED, WRITTEN
from pemt_tf.terminal.pace import Pace

TERMINAL_SECONDS = 0.5
PLAIN_SECONDS = 10.0


def progress_line(counts: Counter, total: int, pace: Pace) -> str:
    """For example `37/120 clips  4.1/s  36 ok, 1 bad  20 s left`; rate and time left only once they are known."""
    done, good = sum(counts.values()), counts[WRITTEN]
    rate, left = pace.rate, pace.seconds_left(total)
    parts = [
        f"{done}/{total} clips",
        "" if rate is None else f"{rate:.1f}/s",
        f"{good} ok, {done - good} bad",
        "" if left is None else f"{_duration(left)} left",
    ]
    return "  ".join(part for part in parts if part)


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


class OutcomeWatcher:
    """Counts the outcomes that local workers, in whatever process, have noted so far."""

    def __init__(self, folder: str) -> None:
        """Args: folder: where the outcome files are."""
        self._folder = Path(folder)
        self._seen: dict[str, tuple[int, int, Counter]] = {}

    def counts(self) -> Counter:
        """Outcomes by kind."""
        for path in self._folder.glob("*.jsonl*"):
            shard = path.name.partition(".")[0]
            try:
                status = path.stat()
                newest = self._seen.get(shard, (-1, -1))[:2]
                # Of a shard that is made again there are two files: the later one counts.
                if status.st_mtime_ns >= newest[0] and newest != (status.st_mtime_ns, status.st_size):
                    lines = path.read_bytes().splitlines()
                    # `kind` is the first field of an outcome: no need to parse the rest.
                    kinds = Counter(line.split(b'"', 4)[3].decode() for line in lines if line.endswith(b"}"))
                    self._seen[shard] = (status.st_mtime_ns, status.st_size, kinds)
            except FileNotFoundError:  # renamed a moment ago: seen under its final name the next time
                continue
        return sum((kinds for *_, kinds in self._seen.values()), Counter())


class Progress:
    """Shows progress from a thread while the context is open, and stops a job that has failed too often."""

    def __init__(
        self,
        folder: str | None,
        total: int,
        stream: TextIO | None = None,
        most_bad: int | None = None,
        stop_file: str | None = None,
    ) -> None:
        """Shows nothing where there is no local folder to watch.

        Args:
            folder: of the outcome files, or None.
            total: clips.
            stream: where to write; standard error by default.
            most_bad: failures that are still allowed.
            stop_file: written when there are more; workers stop when they see it.
        """
        self._watcher = OutcomeWatcher(folder) if folder else None
        self._total, self._most_bad, self._stop_file = total, most_bad, stop_file
        self._stream = stream or sys.stderr
        self._on_terminal = self._stream.isatty()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Progress:
        if self._watcher is not None:
            self._pace = Pace(sum(self._watcher.counts().values()))
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._watcher is not None:
            self._thread.join()
            self._show()
            if self._on_terminal:
                self._stream.write("\n")

    def _run(self) -> None:
        while not self._stop.wait(TERMINAL_SECONDS if self._on_terminal else PLAIN_SECONDS):
            self._show()

    def _show(self) -> None:
        counts = self._watcher.counts()
        if self._stop_file and self._most_bad is not None and counts[FAILED] > self._most_bad:
            Path(self._stop_file).touch()
        self._pace.note(sum(counts.values()))
        line = progress_line(counts, self._total, self._pace)
        self._stream.write(f"\r\033[K{line}" if self._on_terminal else f"{line}\n")
        self._stream.flush()

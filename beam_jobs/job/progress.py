"""The progress of a job, from the outcome files that its workers write."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path
from typing import TextIO

from beam_jobs.worker.outcomes import FAILED, WRITTEN
from pemt_tf.terminal.progress import Progress

_SECONDS = 0.5  # between two looks at the outcome files


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


class JobProgress:
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
            folder: folder of the outcome files, or None.
            total: number of clips.
            stream: output; standard error by default.
            most_bad: number of failures that are still allowed.
            stop_file: file to create when there are more; workers stop when they see it.
        """
        self._watcher = OutcomeWatcher(folder) if folder else None
        self._total, self._most_bad, self._stop_file = total, most_bad, stop_file
        self._stream = stream
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> JobProgress:
        if self._watcher is not None:
            before = sum(self._watcher.counts().values())
            self._line = Progress("clips", self._total, "clips", before, self._stream)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._watcher is not None:
            self._thread.join()
            self._line.close(self._look())

    def _run(self) -> None:
        while not self._stop.wait(_SECONDS):
            before, detail = self._line.done, self._look()
            if self._line.done > before:
                self._line.update(self._line.done, detail)

    def _look(self) -> str:
        """Counts the outcomes, and asks the workers to stop if too many failed; returns the counts in words."""
        counts = self._watcher.counts()
        if self._stop_file and self._most_bad is not None and counts[FAILED] > self._most_bad:
            Path(self._stop_file).touch()
        self._line.done = counts.total()
        return f"{counts[WRITTEN]} ok, {counts.total() - counts[WRITTEN]} bad"

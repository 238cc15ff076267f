"""Writes one shard: record file, outcomes and statistics, each of which appears whole or not at all.

The statistics come last: a shard that has them is finished. Whatever is killed before leaves files with `.partial` in
their names, which nobody reads.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
import uuid
from collections import Counter
from pathlib import Path
from typing import Any

from beam_jobs.engines import storage
from beam_jobs.plan.sharding import Shard
from beam_jobs.worker.outcomes import FAILED, FILTERED, WRITTEN, Outcome
from pemt_tf.data.record_format import RecordFile

PARTIAL = ".partial"
WRITE_BYTES = 2**20


class ShardWriter:
    """Takes the records and outcomes of one shard. Use it as a context manager and call `finish` at the end."""

    def __init__(self, folder: str, shard: Shard) -> None:
        """Args: folder: where the data set is being made; shard: to be written."""
        self._folder, self._shard = folder, shard
        self._statistics = ShardStatistics(shard)
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> ShardWriter:
        work = self._folder
        if storage.is_remote(work):
            work = self._stack.enter_context(tempfile.TemporaryDirectory())
        # Two workers may be at the same shard: runners repeat what is slow.
        ending = f"{PARTIAL}-{uuid.uuid4().hex[:8]}"
        self._record_path = Path(work, self._shard.name + ending)
        self._outcome_path = Path(work, self._shard.outcome_name + ending)
        for path in (self._record_path, self._outcome_path):
            path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._stack.enter_context(self._record_path.open("wb", WRITE_BYTES))
        self._records = RecordFile(self._file)
        self._log = self._stack.enter_context(self._outcome_path.open("wb", buffering=0))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        for path in (self._record_path, self._outcome_path):
            path.unlink(missing_ok=True)

    def write(self, record: bytes | memoryview) -> None:
        """Adds a record."""
        self._records.write(record)

    def note(self, outcome: Outcome) -> None:
        """Notes the end of an input; at once, because the progress line counts these."""
        self._log.write(outcome.line())
        self._statistics.add(outcome)

    def finish(self) -> Counter:
        """Puts the files in their places; returns the number of inputs by kind of outcome."""
        self._file.close()
        self._log.close()
        folder, shard = self._folder, self._shard
        if self._statistics.clips:
            self._statistics.describe_file(self._records.bytes, self._records.sha256)
            storage.put_in_place(str(self._record_path), storage.join(folder, shard.name))
        storage.put_in_place(str(self._outcome_path), storage.join(folder, shard.outcome_name))
        write_statistics(folder, shard, self._statistics.to_json())
        return self._statistics.inputs


class ShardStatistics:
    """What a shard holds, for its file of statistics.

    Attributes:
        clips: records.
        inputs: by kind of outcome.
    """

    def __init__(self, shard: Shard) -> None:
        self._shard = shard
        self.clips = 0
        self.inputs: Counter = Counter()
        self._causes: dict[str, Counter] = {FILTERED: Counter(), FAILED: Counter()}
        self._labels: Counter = Counter()
        self._flags: Counter = Counter()
        self._seconds = 0.0
        self._file: dict[str, Any] = {"bytes": 0, "sha256": ""}

    def add(self, outcome: Outcome) -> None:
        """Counts an outcome."""
        self.inputs[outcome.kind] += 1
        if outcome.kind != WRITTEN:
            self._causes[outcome.kind][outcome.cause] += 1
        for clip in outcome.clips:
            self.clips += 1
            self._seconds += clip.end - clip.start
            self._labels.update(outcome.input.labels)
            self._flags.update(name for name in ("has_video", "has_audio", "silent", "frozen") if getattr(clip, name))

    def describe_file(self, size: int, sha256: str) -> None:
        """Takes size (bytes) and checksum of the record file."""
        self._file = {"bytes": size, "sha256": sha256}

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "file": self._shard.name if self.clips else None,
            "clips": self.clips,
            **self._file,
            "seconds": round(self._seconds, 6),
            "inputs": sum(self.inputs.values()),
            "written": self.inputs[WRITTEN],
            "filtered": dict(sorted(self._causes[FILTERED].items())),
            "failed": dict(sorted(self._causes[FAILED].items())),
            "labels": dict(sorted(self._labels.items())),
            **{name: self._flags[name] for name in ("has_video", "has_audio", "silent", "frozen")},
        }


def write_statistics(folder: str, shard: Shard, statistics: dict[str, Any]) -> None:
    """Writes a shard's file of statistics; whole, on any file system."""
    with tempfile.TemporaryDirectory() as scratch:
        local = Path(scratch, "stats.json")
        if not storage.is_remote(folder):
            local = Path(folder, f"{shard.stats_name}{PARTIAL}-{uuid.uuid4().hex[:8]}")
            local.parent.mkdir(parents=True, exist_ok=True)
        local.write_text(json.dumps(statistics, indent=1) + "\n", encoding="utf-8")
        storage.put_in_place(str(local), storage.join(folder, shard.stats_name))


def read_statistics(folder: str, shard: Shard) -> dict[str, Any]:
    """Reads what `write_statistics` wrote."""
    with storage.open_read(storage.join(folder, shard.stats_name)) as file:
        return json.loads(file.read())

"""The worker's part of a conversion: one record file of a data set becomes one of another form; nothing is decoded.

Every record is compared with the outcome that the data set lists for it, and every file with its statistics. A record
that would not come back byte by byte is refused.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from beam_jobs.engines import storage
from beam_jobs.plan.shards import Shard, ShardSettings
from beam_jobs.worker.outcomes import InputOutcome, read_outcomes
from beam_jobs.worker.shard_maker import ShardWriter, read_statistics
from pemt_tf.data.clip_reader import read_clip
from pemt_tf.errors import PemtError
from pemt_tf.formats.named import record_files
from pemt_tf.formats.record_files import file_digest

AGAIN = "copy the data set again, or preprocess again"


@dataclass(frozen=True)
class Conversion:
    """What a worker needs to know."""

    source: str  # folder of the data set
    format: str  # form of its record files
    settings: ShardSettings  # of the data set that is made

    def source_shard(self, shard: Shard) -> Shard:
        """The shard of the source that becomes `shard`."""
        return dataclasses.replace(shard, format=self.format)

    def convert(self, shard: Shard) -> int:
        """Writes one shard of the new data set; returns its number of clips."""
        old = self.source_shard(shard)
        path = storage.join(self.source, old.name)
        folder = self.settings.folder
        outcomes, statistics = self._said(old)
        try:
            with ShardWriter(folder, shard, self.settings.shape) as writer:
                records = self._records(old, path, statistics)
                clips = 0
                for outcome in outcomes:
                    for clip in outcome.clips:
                        record = next(records, None)
                        if record is None:
                            raise PemtError(f"{path} ends before clip {clip.clip_id!r}; {AGAIN}")
                        self._check(record, clip.clip_id, f"{path}: record {clips}")
                        writer.write(record)
                        clips += 1
                    writer.note(outcome)
                if next(records, None) is not None:
                    raise PemtError(f"{path} holds more than the {clips} clips of its outcomes; {AGAIN}")
                writer.finish()
        except OSError as error:
            raise PemtError(
                f"cannot convert {path} to {shard.name} in {folder}: {error.strerror or error}; make room there, or "
                "choose another --output"
            ) from error
        return clips

    def _said(self, old: Shard) -> tuple[list[InputOutcome], dict[str, Any]]:
        """The outcomes and statistics of a shard of the source."""
        try:
            outcomes = list(read_outcomes(storage.join(self.source, old.outcome_name)))
            return outcomes, read_statistics(self.source, old)
        except (OSError, ValueError, KeyError, TypeError) as error:
            said = " ".join(str(error).split())
            raise PemtError(
                f"{self.source}: cannot read the outcomes or statistics of {old.name}: {said}; {AGAIN}"
            ) from None

    def _records(self, old: Shard, path: str, statistics: dict[str, Any]) -> Iterator[bytes]:
        if not statistics["clips"]:
            return
        with storage.local_copy(path) as local:
            if file_digest(Path(local)) != (statistics["bytes"], statistics["sha256"]):
                raise PemtError(f"{path} is not the file that {old.stats_name} describes; {AGAIN}")
            try:
                yield from record_files(self.format).records(Path(local), self.settings.shape)
            except ValueError as error:
                raise PemtError(f"{path} cannot be read: {error}; {AGAIN}") from None

    def _check(self, record: bytes, clip_id: str, where: str) -> None:
        """Refuses a record of another clip, and one that the new form would not give back as it is."""
        shape, name = self.settings.shape, self.settings.format
        try:
            clip = read_clip(record, shape.geometry, shape.payload)
            comes_back = record_files(name).keeps_bytes or shape.record(clip) == record
        except ValueError as error:
            raise PemtError(f"{where}, cannot be taken apart: {error}; {AGAIN}") from None
        if clip.clip_id != clip_id:
            raise PemtError(f"{where}, is clip {clip.clip_id!r}, but its outcome is that of {clip_id!r}; {AGAIN}")
        if not comes_back:
            raise PemtError(
                f"{where}, clip {clip_id!r}, would not come back from {name} byte by byte, because another program "
                "wrote it; convert to tfrecord or array_record, which keep records as they are"
            )

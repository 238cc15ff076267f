"""The worker's part: decodes the clips of one shard and writes its record file as a whole."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import apache_beam as beam
import tensorflow as tf
from apache_beam.metrics import Metrics

from beam_jobs import storage
from beam_jobs.decode import ExpendableDecoder
from beam_jobs.inputs import InputClip
from beam_jobs.outcomes import FAILED, FILTERED, WRITTEN, Outcome
from beam_jobs.sharding import Shard, read_plan
from pemt_tf.config import ClipGeometry
from pemt_tf.data import records
from pemt_tf.data.clip_builder import build_clip
from pemt_tf.errors import PemtError
from pemt_tf.features.decode import DecodedClip, MediaError

PARTIAL = ".partial"


@dataclass(frozen=True)
class ShardSettings:
    """What a worker needs to know.

    Attributes:
        folder: where the data set is being made.
        geometry: of the clips.
        vocabulary: label names; a label's index is its place.
        on_missing: per stream (`audio`, `video`): `mask`, `skip` or `fail`.
        decode_timeout: seconds a clip.
        decode_memory_mb: MiB of the decoding process.
    """

    folder: str
    geometry: ClipGeometry
    vocabulary: tuple[str, ...]
    on_missing: dict[str, str]
    decode_timeout: float
    decode_memory_mb: int


def outcome_name(shard: Shard) -> str:
    """File name of a shard's outcomes, relative to the folder."""
    return f"outcomes/{shard.split}-{shard.number:05d}.jsonl"


class WriteShard(beam.DoFn):
    """Shard -> (kind of outcome, count); writes the record file and the outcomes of its clips."""

    def __init__(self, settings: ShardSettings) -> None:
        self._settings = settings
        self._decoder: ExpendableDecoder | None = None

    def setup(self) -> None:
        settings = self._settings
        self._decoder = ExpendableDecoder(settings.geometry, settings.decode_timeout, settings.decode_memory_mb)

    def teardown(self) -> None:
        if self._decoder is not None:
            self._decoder.close()

    def process(self, shard: Shard) -> Iterator[tuple[str, int]]:
        clips = read_plan(self._settings.folder, shard)
        try:
            counts = self._write(shard, clips)
        except (OSError, tf.errors.OpError) as error:
            reason = getattr(error, "strerror", None) or str(getattr(error, "message", error)).rpartition("; ")[2]
            raise PemtError(
                f"cannot write {shard.name} in {self._settings.folder}: {reason}; make room there or choose another "
                "--output"
            ) from error
        for kind, count in sorted(counts.items()):
            Metrics.counter("preprocess", f"clips_{kind}").inc(count)
            yield kind, count

    def _write(self, shard: Shard, clips: list[InputClip]) -> Counter:
        folder = self._settings.folder
        counts: Counter = Counter()
        with contextlib.ExitStack() as stack:
            work = folder
            if storage.is_remote(folder):
                work = stack.enter_context(tempfile.TemporaryDirectory())
            record_file, outcome_file = (Path(work, name + PARTIAL) for name in (shard.name, outcome_name(shard)))
            for path in (record_file, outcome_file):
                path.parent.mkdir(parents=True, exist_ok=True)
            with tf.io.TFRecordWriter(str(record_file)) as writer, outcome_file.open("wb", buffering=0) as log:
                for clip in clips:
                    outcome = self._convert(clip, writer)
                    counts[outcome.kind] += 1
                    log.write(outcome.line())  # unbuffered: the progress line counts these
            if counts[WRITTEN]:
                storage.put_in_place(str(record_file), storage.join(folder, shard.name))
            else:
                record_file.unlink()
            storage.put_in_place(str(outcome_file), storage.join(folder, outcome_name(shard)))
        return counts

    def _convert(self, clip: InputClip, writer: tf.io.TFRecordWriter) -> Outcome:
        ended = Outcome(FAILED, clip.clip_id, clip.name, "decode", split=clip.split or "", label=clip.label)
        try:
            decoded = self._decode(clip)
        except MediaError as error:
            return dataclasses.replace(ended, cause=error.cause, detail=error.detail)
        for stream, data in (("audio", decoded.waveform), ("video", decoded.jpegs)):
            policy = self._settings.on_missing[stream]
            if data is None and policy != "mask":
                detail = "; ".join([f"--on_missing_{stream}={policy}", *decoded.notes])
                kind = FILTERED if policy == "skip" else FAILED
                return dataclasses.replace(ended, kind=kind, cause=f"no_{stream}", detail=detail)
        labels = () if clip.label is None else (clip.label,)
        indices = tuple(self._settings.vocabulary.index(label) for label in labels)
        record = build_clip(decoded, self._settings.geometry, clip.clip_id, clip.name, labels, indices)
        writer.write(records.serialize(record, self._settings.geometry))
        return dataclasses.replace(
            ended,
            kind=WRITTEN,
            seconds=decoded.end - decoded.start,
            has_video=decoded.jpegs is not None,
            has_audio=decoded.waveform is not None,
            notes=decoded.notes,
        )

    def _decode(self, clip: InputClip) -> DecodedClip:
        with contextlib.ExitStack() as stack:
            try:
                path = stack.enter_context(storage.local_copy(clip.path))
            except OSError as error:
                raise MediaError("not_found", f"cannot read {clip.path}: {error}") from None
            return self._decoder.decode(path, clip.start, clip.end)

"""The worker's first part: reads the records of a unit, or decodes its videos into records."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import apache_beam as beam
import tensorflow as tf
from apache_beam.pvalue import TaggedOutput
from google.protobuf.message import DecodeError

from beam_jobs.embedding.sources import InputUnit, read_plan
from beam_jobs.engines import storage
from beam_jobs.inputs import members
from beam_jobs.worker.decoder_process import ClipRequest, ExpendableDecoder
from pemt_tf.config import ClipGeometry
from pemt_tf.data import records
from pemt_tf.data.damage import plain_cause
from pemt_tf.errors import PemtError
from pemt_tf.media.media_errors import MediaError
from pemt_tf.search.record_embeddings import describe_record

FAILED = "failed"


@dataclass(frozen=True)
class RowPlace:
    """Where the row of a clip belongs: `shard` is its Parquet file; rows are sorted by `unit` and `index`."""

    shard: int
    unit: int
    index: int


@dataclass(frozen=True)
class ClipExample:
    """A clip on its way to the model."""

    place: RowPlace
    about: dict[str, Any]  # the row's other columns
    serialized: bytes  # the record


@dataclass(frozen=True)
class EmbeddedClip:
    """What became of a clip: a vector, or a failure."""

    place: RowPlace
    about: dict[str, Any]  # the row's other columns; for a failure at least `id` and `path`
    vector: bytes | None = None  # little-endian float32; None for a failure
    stage: str = ""  # where it failed: `read`, `decode` or `model`
    cause: str = ""
    detail: str = ""
    aligned: dict[str, bytes] = field(default_factory=dict)  # by column, as `vector`; empty without aligned space


@dataclass(frozen=True)
class ReadSettings:
    """What a worker needs to know to read."""

    source: str  # the data set, for units of record files
    compression: str  # of the record files, as TensorFlow names it
    folder: str  # folder of the plan file, for units of videos
    geometry: ClipGeometry
    modalities: tuple[str, ...]
    decode_timeout: float  # seconds for a clip
    decode_memory_mb: int


class ReadUnit(beam.DoFn):
    """Unit -> records for the model; clips that cannot be read go to the output `failed`."""

    _decoder: ExpendableDecoder

    def __init__(self, settings: ReadSettings) -> None:
        self._settings = settings

    def setup(self) -> None:
        settings = self._settings
        self._decoder = ExpendableDecoder(settings.geometry, settings.decode_timeout, settings.decode_memory_mb)

    def teardown(self) -> None:
        self._decoder.close()

    def process(self, element: InputUnit) -> Iterator[ClipExample | TaggedOutput]:
        read = self._records if element.record_file else self._videos
        for outcome in read(element):
            yield TaggedOutput(FAILED, outcome) if isinstance(outcome, EmbeddedClip) else outcome

    def _records(self, unit: InputUnit) -> Iterator[ClipExample | EmbeddedClip]:
        path = storage.join(self._settings.source, unit.record_file)
        try:
            with storage.local_copy(path) as local:
                # The card's compression is a name that TensorFlow knows.
                dataset = tf.data.TFRecordDataset(local, self._settings.compression)  # pyright: ignore[reportArgumentType]
                for index, raw in enumerate(dataset.as_numpy_iterator()):
                    yield self._checked_record(RowPlace(unit.shard, unit.number, index), bytes(raw), unit)
        except (OSError, tf.errors.OpError) as error:
            raise PemtError(
                f"{path} cannot be read to its end ({plain_cause(error)}); the data set is damaged: copy it again, or "
                "preprocess again"
            ) from error

    def _checked_record(self, place: RowPlace, raw: bytes, unit: InputUnit) -> ClipExample | EmbeddedClip:
        """Checks a record: the model reads a batch at once, which one bad record would spoil."""
        try:
            example = tf.train.Example.FromString(raw)
            about = describe_record(example, unit.split)
        except (DecodeError, ValueError) as error:
            name = f"{unit.record_file}#{place.index}"
            return EmbeddedClip(place, {"id": name, "path": name}, None, "read", "bad_record", f"not a record: {error}")
        problem = self._size_problem(example, about)
        if problem:
            return EmbeddedClip(place, about, None, "read", "bad_record", problem)
        return self._with_modalities(ClipExample(place, about, raw))

    def _size_problem(self, example: tf.train.Example, about: dict[str, Any]) -> str:
        geometry, feature = self._settings.geometry, example.features.feature
        frames, values = len(feature[records.IMAGE].bytes_list.value), len(feature[records.LOG_MEL].float_list.value)
        want_frames = about["has_video"] * geometry.segments * geometry.frames_per_segment
        want_values = about["has_audio"] * geometry.segments * geometry.mel_bins * geometry.mel_frames
        if (frames, values) == (want_frames, want_values):
            return ""
        return (
            f"it holds {frames} frames and {values} spectrogram values; its flags and the geometry require "
            f"{want_frames} and {want_values}"
        )

    def _with_modalities(self, example: ClipExample) -> ClipExample | EmbeddedClip:
        """Refuses a clip without any of the model's modalities, for which the model would return zeros."""
        flags = {"visual": "has_video", "audio": "has_audio"}
        if any(example.about[flags[modality]] for modality in self._settings.modalities):
            return example
        causes: dict[tuple[str, ...], str] = {("visual",): "no_video", ("audio",): "no_audio"}
        cause = causes.get(self._settings.modalities, "no_streams")
        detail = "the clip has no modality that the model uses"
        return EmbeddedClip(example.place, example.about, None, "read", cause, detail)

    def _videos(self, unit: InputUnit) -> Iterator[ClipExample | EmbeddedClip]:
        for index, planned in enumerate(read_plan(self._settings.folder, unit)):
            place = RowPlace(unit.shard, unit.number, index)
            about = {name: value for name, value in planned.items() if name != "location"}
            try:
                yield self._decoded(place, planned["location"], about)
            except MediaError as error:
                yield EmbeddedClip(place, about, None, "decode", error.cause, error.detail)

    def _decoded(self, place: RowPlace, location: str, about: dict[str, Any]) -> ClipExample | EmbeddedClip:
        with contextlib.ExitStack() as stack:
            try:
                path = stack.enter_context(members.local_file(location))
            except OSError as error:
                raise MediaError("not_found", f"cannot read {members.described(location)}: {error}") from None
            request = ClipRequest(path, about["start"], about["end"], clip_id=about["id"], name=about["path"])
            made = self._decoder.clip(request)
        about = {**about, **{name: getattr(made.about, name) for name in ("start", "end", "has_video", "has_audio")}}
        return self._with_modalities(ClipExample(place, about, bytes(made.record)))

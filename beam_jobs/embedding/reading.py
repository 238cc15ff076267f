"""The worker's first part: reads the records of a unit, or decodes its videos into records."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import apache_beam as beam
import tensorflow as tf
from google.protobuf.message import DecodeError

from beam_jobs.embedding.sources import Unit, read_plan
from beam_jobs.engines import storage
from beam_jobs.worker.decoder_process import ClipRequest, ExpendableDecoder
from pemt_tf.config import ClipGeometry
from pemt_tf.data import records
from pemt_tf.data.damage import plain_cause
from pemt_tf.errors import PemtError
from pemt_tf.media.media_errors import MediaError
from pemt_tf.search.record_embeddings import describe_record

FAILED = "failed"


@dataclass(frozen=True)
class Place:
    """Where the outcome of a clip belongs: `shard` is its Parquet file; rows are sorted by `unit` and `index`."""

    shard: int
    unit: int
    index: int


@dataclass(frozen=True)
class Example:
    """A clip on its way to the model.

    Attributes:
        place: of its row.
        about: its row but for the vector.
        serialized: the record.
    """

    place: Place
    about: dict
    serialized: bytes


@dataclass(frozen=True)
class Result:
    """What became of a clip: a vector (float32, as bytes), or a cause of failure.

    Attributes:
        place: of its row.
        about: its row but for the vector; of a failure at least `id` and `path`.
        vector: little-endian float32; None for a failure.
        stage: of a failure: `read`, `decode` or `model`.
        cause, detail: of a failure.
    """

    place: Place
    about: dict
    vector: bytes | None = None
    stage: str = ""
    cause: str = ""
    detail: str = ""


@dataclass(frozen=True)
class ReadSettings:
    """What a worker needs to know to read.

    Attributes:
        source: the data set, for units of record files.
        compression: of record files.
        folder: where the plan file is, for units of videos.
        geometry: of the model.
        modalities: of the model.
        decode_timeout: seconds a clip.
        decode_memory_mb: MiB of the decoding process.
    """

    source: str
    compression: str
    folder: str
    geometry: ClipGeometry
    modalities: tuple[str, ...]
    decode_timeout: float
    decode_memory_mb: int


class ReadUnit(beam.DoFn):
    """Unit -> examples for the model; what cannot be read goes to the output `failed` as results."""

    def __init__(self, settings: ReadSettings) -> None:
        self._settings = settings
        self._decoder: ExpendableDecoder | None = None

    def setup(self) -> None:
        settings = self._settings
        self._decoder = ExpendableDecoder(settings.geometry, settings.decode_timeout, settings.decode_memory_mb)

    def teardown(self) -> None:
        if self._decoder is not None:
            self._decoder.close()

    def process(self, unit: Unit) -> Iterator[Example | beam.pvalue.TaggedOutput]:
        read = self._records if unit.record_file else self._videos
        for outcome in read(unit):
            yield beam.pvalue.TaggedOutput(FAILED, outcome) if isinstance(outcome, Result) else outcome

    def _records(self, unit: Unit) -> Iterator[Example | Result]:
        path = storage.join(self._settings.source, unit.record_file)
        try:
            with storage.local_copy(path) as local:
                dataset = tf.data.TFRecordDataset(local, self._settings.compression)
                for index, raw in enumerate(dataset.as_numpy_iterator()):
                    yield self._checked_record(Place(unit.shard, unit.number, index), raw, unit)
        except (OSError, tf.errors.OpError) as error:
            raise PemtError(
                f"{path} cannot be read to its end ({plain_cause(error)}); the data set is damaged: copy it again, or "
                "preprocess again"
            ) from error

    def _checked_record(self, place: Place, raw: bytes, unit: Unit) -> Example | Result:
        """The model reads a batch at once: one bad record must not get there."""
        try:
            example = tf.train.Example.FromString(raw)
            about = describe_record(example, unit.split)
        except (DecodeError, ValueError) as error:
            name = f"{unit.record_file}#{place.index}"
            return Result(place, {"id": name, "path": name}, None, "read", "bad_record", f"not a record: {error}")
        problem = self._size_problem(example, about)
        if problem:
            return Result(place, about, None, "read", "bad_record", problem)
        return self._with_streams(Example(place, about, raw))

    def _size_problem(self, example: tf.train.Example, about: dict) -> str:
        geometry, feature = self._settings.geometry, example.features.feature
        images, values = len(feature[records.IMAGE].bytes_list.value), len(feature[records.LOG_MEL].float_list.value)
        want_images = about["has_video"] * geometry.segments * geometry.frames_per_segment
        want_values = about["has_audio"] * geometry.segments * geometry.mel_bins * geometry.mel_frames
        if (images, values) == (want_images, want_values):
            return ""
        there = f"{images} pictures and {values} spectrogram values"
        return f"it holds {there}; by its flags and the geometry there must be {want_images} and {want_values}"

    def _with_streams(self, example: Example) -> Example | Result:
        """A clip with nothing that the model looks at has no embedding; the model would answer zeros."""
        streams = {"visual": "has_video", "audio": "has_audio"}
        modalities = self._settings.modalities
        if any(example.about[streams[modality]] for modality in modalities):
            return example
        cause = "no_streams" if len(modalities) > 1 else {"visual": "no_video", "audio": "no_audio"}[modalities[0]]
        return Result(example.place, example.about, None, "read", cause, "nothing that the model looks at is there")

    def _videos(self, unit: Unit) -> Iterator[Example | Result]:
        for index, planned in enumerate(read_plan(self._settings.folder, unit)):
            place = Place(unit.shard, unit.number, index)
            about = {name: value for name, value in planned.items() if name != "location"}
            try:
                yield self._decoded(place, planned["location"], about)
            except MediaError as error:
                yield Result(place, about, None, "decode", error.cause, error.detail)

    def _decoded(self, place: Place, location: str, about: dict) -> Example | Result:
        with contextlib.ExitStack() as stack:
            try:
                path = stack.enter_context(storage.local_copy(location))
            except OSError as error:
                raise MediaError("not_found", f"cannot read {location}: {error}") from None
            request = ClipRequest(path, about["start"], about["end"], clip_id=about["id"], name=about["path"])
            made = self._decoder.clip(request)
        clip = made.about
        about = {
            **about,
            "start": clip.start,
            "end": clip.end,
            "has_video": clip.has_video,
            "has_audio": clip.has_audio,
        }
        return self._with_streams(Example(place, about, made.record))

"""The endless stream of clips that training sees, before decoding: which clips, in which order, from which place.

Two ways give the same stream. Records of local files are read one by one, in a precomputed order. Compressed files and
buckets are read from their start, and tf.data shuffles.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from pemt_tf.data import records
from pemt_tf.data.balanced_order import BalancedOrder
from pemt_tf.data.clip_order import READ_FILES_AT_ONCE, SHUFFLE_CLIPS, ClipOrder
from pemt_tf.data.clip_source import ClipSource
from pemt_tf.data.record_index import RecordIndex
from pemt_tf.errors import PemtError

_FLAGS = {"visual": records.HAS_VIDEO, "audio": records.HAS_AUDIO}
_READ_AT_ONCE = 16  # clips
_PLACES_AT_ONCE = 256


@dataclass(frozen=True)
class WorkerShare:
    """A worker's rows of every batch: all workers read the same stream, and each keeps neighbouring rows.

    So the batch of a step holds the same clips for any number of workers. Each has equally many of the `replicas`.
    """

    worker: int = 0
    workers: int = 1
    replicas: int = 1

    def rows(self, batch_size: int) -> range:
        """Rows of a global batch that this worker keeps."""
        own = batch_size // self.workers
        return range(self.worker * own, (self.worker + 1) * own)

    def size(self, batch_size: int) -> int:
        """Rows per device."""
        return batch_size // self.replicas


EVERYTHING = WorkerShare()


@dataclass(frozen=True)
class WantedClips:
    """Which clips of a split training sees."""

    labelled: bool  # whether clips without a label are excluded
    streams: tuple[str, ...]  # modalities that a clip must have
    only: frozenset[str] | None  # ids to choose from; None for all
    few: bool  # whether the wanted clips are a minor part of the split
    balanced: bool = False  # whether each class gives equally many clips, rather than each clip coming equally often
    every_label: bool = False  # whether all labels of a clip count for that, or only its first

    def rows(self, index: RecordIndex) -> np.ndarray:
        """[records] bool."""
        rows = np.ones(len(index.ids), bool)
        if self.labelled:
            rows &= index.labels >= 0
        if self.only is not None:
            rows &= np.array([name in self.only for name in index.ids], bool)
        for stream in self.streams:
            rows &= index.has[stream]
        return rows

    def nothing(self, source: ClipSource, split: str) -> PemtError:
        """The error for a split without such a clip."""
        wanted = ["a label"] * self.labelled + [_FLAGS[stream].removeprefix("has_") for stream in self.streams]
        return PemtError(f"{source.name}: split {split!r} holds no clip with {' and '.join(wanted)}")


def found_clips(
    source: ClipSource, split: str, seed: int, wanted: WantedClips, first: int, own: range, batch_size: int
) -> tf.data.Dataset:
    """The endless shuffled stream of clips of local files, without compression; only the wanted records are read.

    TensorFlow's global seed is mixed into the order. `first` is a place in the stream, in clips; `own` are the rows of
    each batch to keep. Elements are pairs of a place in the stream, int64, and a parsed clip.
    """
    files = source.require_split(split)
    index = RecordIndex.of(files, source.directory, source.labels)
    rows = wanted.rows(index)
    if not rows.any():
        raise wanted.nothing(source, split)
    keys = [tf.compat.v1.get_seed(each) for each in (seed, seed + 1)]
    if wanted.balanced:
        order = _balanced(index, rows, wanted.every_label, keys[0])
    else:
        order = ClipOrder(index.sizes, rows, *keys, same_files=wanted.few)
    file_of = np.repeat(np.arange(len(files)), index.sizes)

    def places() -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        stream = order.rows_from(first)
        for start in itertools.count(first, _PLACES_AT_ONCE):
            chosen = np.fromiter(itertools.islice(stream, _PLACES_AT_ONCE), np.int64, _PLACES_AT_ONCE)
            place = np.arange(start, start + _PLACES_AT_ONCE)
            mine = (place % batch_size >= own.start) & (place % batch_size < own.stop)
            yield place[mine], file_of[chosen[mine]], index.offsets[chosen[mine]]

    names = tf.constant(files)

    def read(place: tf.Tensor, file: tf.Tensor, offset: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        return place, source.parse(_record(names[file], offset))

    found = tf.data.Dataset.from_generator(places, output_signature=(tf.TensorSpec([None], tf.int64),) * 3)
    return found.unbatch().map(read, num_parallel_calls=_READ_AT_ONCE, deterministic=True)


def _balanced(index: RecordIndex, chosen: np.ndarray, every_label: bool, seed: tuple[int, int]) -> BalancedOrder:
    rows, labels = index.pairs(every_label)
    kept = chosen[rows]
    return BalancedOrder(rows[kept], labels[kept], seed)


def _record(file: tf.Tensor, offset: tf.Tensor) -> tf.Tensor:
    """One record of a file; its checksums are verified."""
    found = tf.raw_ops.TFRecordDatasetV2(
        filenames=[file], compression_type="", buffer_size=tf.constant(0, tf.int64), byte_offsets=[offset]
    )
    kind = {"output_types": [tf.string], "output_shapes": [[]]}
    one = tf.raw_ops.TakeDataset(input_dataset=found, count=tf.constant(1, tf.int64), **kind)
    return tf.raw_ops.DatasetToSingleElement(dataset=one, **kind)[0]


def read_clips(source: ClipSource, split: str, seed: int, wanted: WantedClips) -> tf.data.Dataset:
    """An epoch of parsed clips before the shuffle, from files that are read from their start; see `found_clips`."""
    files = tf.data.Dataset.from_tensor_slices(list(source.require_split(split)))
    files = files.shuffle(len(source.files[split]), seed=seed)
    clips = files.interleave(
        lambda file: tf.data.TFRecordDataset(file, source.compression),
        cycle_length=READ_FILES_AT_ONCE,
        num_parallel_calls=1,
        deterministic=True,
    )
    clips = clips.map(source.parse, num_parallel_calls=tf.data.AUTOTUNE)
    if wanted.labelled:
        clips = clips.filter(lambda clip: clip["label"] >= 0)
    if wanted.only is not None:
        clips = clips.filter(_is_one_of(wanted.only))
    for flag in (_FLAGS[stream] for stream in wanted.streams):
        clips = clips.filter(lambda clip, flag=flag: clip[flag])
    return clips


def shuffled_clips(
    clips: tf.data.Dataset, seed: int, wanted: WantedClips, first: int, own: range, batch_size: int
) -> tf.data.Dataset:
    """The stream of `found_clips` from `clips`, the epochs of `read_clips`; clips before the first place are read."""
    if wanted.few:
        clips = clips.cache()  # or every epoch would read all records for a few clips
    clips = clips.shuffle(SHUFFLE_CLIPS, seed=seed + 1).repeat().enumerate().skip(first)

    def is_own(place: tf.Tensor, _: dict[str, tf.Tensor]) -> tf.Tensor:
        row = tf.math.floormod(place, batch_size)
        return tf.logical_and(row >= own.start, row < own.stop)

    return clips.filter(is_own)  # pyright: ignore[reportArgumentType] - TensorFlow's hints know no filter of pairs


def _is_one_of(ids: frozenset[str]) -> Callable[[dict[str, tf.Tensor]], tf.Tensor]:
    """A filter of parsed clips."""
    names = tf.constant(sorted(ids))
    table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(names, tf.ones_like(names, tf.bool)), False)
    return lambda clip: table.lookup(clip["id"])

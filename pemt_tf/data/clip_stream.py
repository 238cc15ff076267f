"""The endless stream of clips that training sees, before they are decoded: which ones, in which order, from where on.

Two ways lead to the same stream. From files on a disk records are read one by one, in an order that is computed before.
Compressed files and buckets are read from their start, and tf.data shuffles.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from pemt_tf.data import records
from pemt_tf.data.clip_order import READ_FILES_AT_ONCE, SHUFFLE_CLIPS, ClipOrder
from pemt_tf.data.clip_source import ClipSource
from pemt_tf.data.record_index import RecordIndex
from pemt_tf.errors import PemtError

_FLAGS = {"visual": records.HAS_VIDEO, "audio": records.HAS_AUDIO}
_READ_AT_ONCE = 16  # clips
_PLACES_AT_ONCE = 256


@dataclass(frozen=True)
class WantedClips:
    """Which clips of a split training sees.

    Attributes:
        labelled: only those with a label.
        streams: only those that have all of these, modalities by name.
        only: only those with one of these ids; None for all.
        few: they are a minor part of the split.
    """

    labelled: bool
    streams: tuple[str, ...]
    only: frozenset[str] | None
    few: bool

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
        """What to raise where there is no such clip."""
        wanted = ["a label"] * self.labelled + [_FLAGS[stream].removeprefix("has_") for stream in self.streams]
        return PemtError(f"{source.name}: split {split!r} holds no clip with {' and '.join(wanted)}")


def found_clips(
    source: ClipSource, split: str, seed: int, wanted: WantedClips, first: int, own: range, batch_size: int
) -> tf.data.Dataset:
    """The endless shuffled stream of clips from a place on; each record is read where it stands, and no other is.

    Args:
        source: local files without compression.
        split: which clips.
        seed: random seed for the order; TensorFlow's global seed is mixed into it.
        wanted: which of them.
        first: place in the stream, in clips.
        own: rows of a batch that are wanted.
        batch_size: clips per batch.

    Returns:
        Pairs of a place in the stream, int64, and a parsed clip.

    Raises:
        PemtError: there is no such clip, or a file is damaged.
    """
    files = source.require_split(split)
    index = RecordIndex.of(files, source.directory, source.labels)
    rows = wanted.rows(index)
    if not rows.any():
        raise wanted.nothing(source, split)
    keys = [tf.compat.v1.get_seed(each) for each in (seed, seed + 1)]
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

    def read(place: tf.Tensor, file: tf.Tensor, offset: tf.Tensor):
        return place, source.parse(_record(names[file], offset))

    found = tf.data.Dataset.from_generator(places, output_signature=(tf.TensorSpec([None], tf.int64),) * 3)
    return found.unbatch().map(read, num_parallel_calls=_READ_AT_ONCE, deterministic=True)


def _record(file: tf.Tensor, offset: tf.Tensor) -> tf.Tensor:
    """One record of a file; its checksums are looked at."""
    found = tf.raw_ops.TFRecordDatasetV2(
        filenames=[file], compression_type="", buffer_size=tf.constant(0, tf.int64), byte_offsets=[offset]
    )
    kind = {"output_types": [tf.string], "output_shapes": [[]]}
    one = tf.raw_ops.TakeDataset(input_dataset=found, count=tf.constant(1, tf.int64), **kind)
    return tf.raw_ops.DatasetToSingleElement(dataset=one, **kind)[0]


def read_clips(source: ClipSource, split: str, seed: int, wanted: WantedClips) -> tf.data.Dataset:
    """An epoch of parsed clips before the shuffle, from compressed files or a bucket: they are read from their start.

    Args:
        source, split, seed, wanted: see `found_clips`.
    """
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
    """The stream of `found_clips` from the epochs of `read_clips`; what comes before the first place is read.

    Args:
        clips: from `read_clips`, one of which was already looked at.
        seed, wanted, first, own, batch_size: see `found_clips`.
    """
    if wanted.few:
        clips = clips.cache()  # or every epoch would read all records for a few clips
    clips = clips.shuffle(SHUFFLE_CLIPS, seed=seed + 1).repeat().enumerate().skip(first)
    return clips.filter(lambda place, _: tf.logical_and(place % batch_size >= own.start, place % batch_size < own.stop))


def _is_one_of(ids: frozenset[str]):
    """A filter of parsed clips."""
    names = tf.constant(sorted(ids))
    table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(names, tf.ones_like(names, tf.bool)), False)
    return lambda clip: table.lookup(clip["id"])

"""Where each record of a file begins, and what decides whether training sees its clip; frames are not read."""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError

from pemt_tf.data.dataset_index import read_index
from pemt_tf.data.record_format import CLIP_ID, HAS_AUDIO, HAS_VIDEO, HEADER_BYTES, LABEL_INDEX, find_records
from pemt_tf.errors import PemtError

_AT_ONCE = 16  # files
_BLOCK = 4096  # bytes; the needed features usually stand in the first two blocks
_LONGEST = 1 << 20
_FEATURES = tuple(name.encode() for name in (CLIP_ID, LABEL_INDEX, HAS_VIDEO, HAS_AUDIO))
# The records of a file: offset, label, has video, has audio, id; record to its labels after the first.
Columns = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[int, tuple[int, ...]]]


@dataclass(frozen=True)
class RecordIndex:
    """One row a record, in the order of the files."""

    sizes: tuple[int, ...]  # number of records in each file
    offsets: np.ndarray  # [records] int64, byte of its file at which each begins
    labels: np.ndarray  # [records] int64, the first label's index, -1 without one
    has: dict[str, np.ndarray]  # `visual` and `audio` to [records] bool
    ids: np.ndarray  # [records] str
    further_labels: dict[int, tuple[int, ...]]  # row to its labels after the first, if it has several

    @classmethod
    def of(cls, files: Sequence[str], directory: Path | None = None, labels: Sequence[str] = ()) -> RecordIndex:
        """Finds all records of local, uncompressed files; those in the data set's own index are not opened."""
        known = _listed(files, directory, labels) if directory is not None else {}
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            found = list(pool.map(lambda file: known[file] if file in known else _index(file), files))
        *columns, further = zip(*found, strict=True)
        offsets, numbers, video, audio, ids = (np.concatenate(column) for column in columns)
        sizes = tuple(len(rows[0]) for rows in found)
        first = [0, *itertools.accumulate(sizes)]
        several = {
            start + row: more for start, of_file in zip(first, further, strict=False) for row, more in of_file.items()
        }
        return cls(sizes, offsets, numbers, {"visual": video, "audio": audio}, ids, several)

    def pairs(self, every_label: bool) -> tuple[np.ndarray, np.ndarray]:
        """Rows and labels of each label of a record, or of the first ones only; [pairs] int64 both."""
        rows = np.flatnonzero(self.labels >= 0)
        labels = self.labels[rows]
        if not every_label or not self.further_labels:
            return rows, labels
        counts = [len(more) for more in self.further_labels.values()]
        further = np.repeat(np.fromiter(self.further_labels, np.int64), counts)
        names = np.fromiter(itertools.chain.from_iterable(self.further_labels.values()), np.int64)
        return np.concatenate([rows, further]), np.concatenate([labels, names])


def _listed(files: Sequence[str], directory: Path, labels: Sequence[str]) -> dict[str, Columns]:
    """The records of each file whose size is that of the data set's index; much faster than reading the files."""
    number_of = {label: number for number, label in enumerate(labels)}
    wanted = set(files)
    found: dict[str, Columns] = {}
    for name, rows in read_index(directory).items():
        file = directory / name
        if str(file) in wanted and file.is_file() and file.stat().st_size == rows.bytes:
            numbers = np.array([number_of.get(label, -1) for label in rows.labels], np.int64)
            offsets = np.cumsum(rows.lengths) - rows.lengths
            further = {
                row: tuple(number_of[name] for name in more if name in number_of)
                for row, more in rows.further_labels.items()
            }
            found[str(file)] = offsets, numbers, rows.has_video, rows.has_audio, rows.ids, further
    return found


def _index(file: str) -> Columns:
    try:
        about = os.stat(file)  # noqa: PTH116
        return _index_as_it_is(file, about.st_size, about.st_mtime_ns)
    except OSError as error:
        raise PemtError(f"cannot read {file}: {error.strerror or error}") from None


@functools.cache
def _index_as_it_is(file: str, size: int, changed: int) -> Columns:
    """A file that has not changed is read once."""
    rows = []
    try:
        with open(file, "rb", buffering=0) as opened:  # noqa: PTH123
            for offset, length, block in find_records(opened, _BLOCK):
                start = offset + HEADER_BYTES
                reader = _Reader(opened.fileno(), start, block[HEADER_BYTES:])
                try:
                    rows.append((offset, *_about(reader, start + length)))
                except (DecodeError, IndexError, KeyError):
                    where = f"{file}: record {len(rows)}, at byte {offset},"
                    raise PemtError(f"{where} holds something else than a clip; preprocess the videos again") from None
    except ValueError as error:
        raise PemtError(f"{file} is damaged: {error}; preprocess the videos again") from None
    offsets, labels, video, audio, ids = zip(*rows, strict=True) if rows else [()] * 5
    flags = np.array(video, bool), np.array(audio, bool)
    first = np.array([each[0] if each else -1 for each in labels], np.int64)
    further: dict[int, tuple[int, ...]] = {row: each[1:] for row, each in enumerate(labels) if len(each) > 1}
    return np.array(offsets, np.int64), first, *flags, np.array(ids, object), further


class _Reader:
    """Reads a file from a place on; skips parts without reading them."""

    def __init__(self, descriptor: int, place: int, block: bytes):
        self._descriptor, self.place = descriptor, place
        self._start, self._block = place, block

    def bytes(self, count: int) -> bytes:
        """The next bytes; the needed features are short."""
        if count > _LONGEST:
            raise IndexError(count)
        begin = self.place - self._start
        if begin + count > len(self._block):
            self._start, begin = self.place, 0
            self._block = os.pread(self._descriptor, max(count, _BLOCK), self.place)
        self.place += count
        return self._block[begin : begin + count]

    def number(self) -> int:
        """The next varint."""
        value = shift = 0
        while (byte := self.bytes(1)[0]) & 0x80 and shift < 63:
            value |= (byte & 0x7F) << shift
            shift += 7
        return value | byte << shift


def _about(reader: _Reader, end: int) -> tuple[tuple[int, ...], bool, bool, str]:
    found: dict[bytes, tf.train.Feature] = {}
    for name, length in _entries(reader, end):
        if name in _FEATURES:
            found[name] = tf.train.Feature.FromString(reader.bytes(length))
            if len(found) == len(_FEATURES):
                break
    ids, labels, video, audio = (found[name] for name in _FEATURES)
    clip_id = ids.bytes_list.value[0].decode("utf-8", "backslashreplace")
    return tuple(labels.int64_list.value), video.int64_list.value[0] > 0, audio.int64_list.value[0] > 0, clip_id


def _entries(reader: _Reader, end: int) -> Iterator[tuple[bytes, int]]:
    """The features of an Example, or of a SequenceExample's context: name, length; the reader is at its beginning."""
    while reader.place < end:
        kind, length = reader.number(), reader.number()
        if kind != 0x0A:  # a SequenceExample's lists
            reader.place += length
            continue
        features_end = reader.place + length
        while reader.place < features_end:
            reader.number()
            entry_end = reader.number()
            entry_end += reader.place
            reader.number()
            name = reader.bytes(reader.number())
            reader.number()
            yield name, reader.number()
            reader.place = entry_end

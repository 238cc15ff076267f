"""Where each record of a file begins, and what decides whether training sees its clip; frames are not read."""

from __future__ import annotations

import functools
import os
import struct
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow as tf
from google.protobuf.message import DecodeError

from pemt_tf.data.record_format import CLIP_ID, EXTRA_BYTES, HAS_AUDIO, HAS_VIDEO, LABEL_INDEX, is_header
from pemt_tf.errors import PemtError

_AT_ONCE = 16  # files
_BLOCK = 4096  # bytes; what is asked for usually stands in the first two that are read
_LONGEST = 1 << 20
_FEATURES = tuple(name.encode() for name in (CLIP_ID, LABEL_INDEX, HAS_VIDEO, HAS_AUDIO))
# Of the records of a file: offset, label, has video, has audio, id.
Columns = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class RecordIndex:
    """One row a record, in the order of the files.

    Attributes:
        sizes: records of each file.
        offsets: [records] int64, where each begins in its file, bytes.
        labels: [records] int64, the first label's index, -1 without one.
        has: `visual` and `audio` to [records] bool.
        ids: [records] str, of the clips.
    """

    sizes: tuple[int, ...]
    offsets: np.ndarray
    labels: np.ndarray
    has: dict[str, np.ndarray]
    ids: np.ndarray

    @classmethod
    def of(cls, files: Sequence[str], listed: Listing | None = None) -> RecordIndex:
        """Finds all records of local, uncompressed files: of files that the listing knows without opening them.

        Args:
            files: to be read.
            listed: what the data set's own index says, if it has one.

        Raises:
            PemtError: a file is damaged or cannot be read.
        """
        known = listed.of(files) if listed is not None else {}
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            found = list(pool.map(lambda file: known[file] if file in known else _index(file), files))
        offsets, labels, video, audio, ids = (np.concatenate(column) for column in zip(*found, strict=True))
        return cls(tuple(len(rows[0]) for rows in found), offsets, labels, {"visual": video, "audio": audio}, ids)


@dataclass(frozen=True)
class Listing:
    """The index that `beam_jobs.preprocess` writes, `index.parquet`: much faster to read than the heads of records.

    Attributes:
        path: its file.
        labels: the vocabulary.
    """

    path: Path
    labels: tuple[str, ...]

    def of(self, files: Sequence[str]) -> dict[str, Columns]:
        """The columns of each file that is as the index says, by its size; others are left out."""
        try:
            table = pq.read_table(self.path, columns=["file", "bytes", "label", "has_video", "has_audio", "id"])
        except (OSError, pa.ArrowException):
            return {}
        names = table["file"].combine_chunks().dictionary_encode()
        codes, changes = names.indices.to_numpy(), [0]
        changes += (np.flatnonzero(np.diff(codes)) + 1).tolist()
        lengths = table["bytes"].to_numpy() + EXTRA_BYTES
        number_of = {label: number for number, label in enumerate(self.labels)}
        labels = np.array([number_of.get(label, -1) for label in table["label"].to_pylist()], np.int64)
        video, audio, ids = (table[name].to_numpy() for name in ("has_video", "has_audio", "id"))
        wanted = set(files)
        found: dict[str, Columns] = {}
        for begin, end in zip(changes, [*changes[1:], len(codes)], strict=True):
            rows = slice(begin, end)
            file = str(self.path.parent / names.dictionary[int(codes[begin])].as_py()) if begin < end else ""
            if file in wanted and Path(file).is_file() and Path(file).stat().st_size == lengths[rows].sum():
                offsets = np.cumsum(lengths[rows]) - lengths[rows]
                found[file] = offsets, labels[rows], video[rows], audio[rows], ids[rows]
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
    offset = 0
    with open(file, "rb", buffering=0) as opened:  # noqa: PTH123
        while offset < size:
            block = os.pread(opened.fileno(), _BLOCK, offset)
            length = struct.unpack_from("<Q", block)[0] if is_header(block[:12]) else size
            if offset + EXTRA_BYTES + length > size:
                raise PemtError(
                    f"{file} is damaged: record {len(rows)}, at byte {offset}, is cut off or overwritten; "
                    "preprocess the videos again"
                )
            try:
                rows.append((offset, *_about(_Reader(opened.fileno(), offset + 12, block[12:]), offset + 12 + length)))
            except (DecodeError, IndexError, KeyError):
                raise PemtError(
                    f"{file}: record {len(rows)}, at byte {offset}, holds something else than a clip; preprocess the "
                    "videos again"
                ) from None
            offset += EXTRA_BYTES + length
    offsets, labels, video, audio, ids = zip(*rows, strict=True) if rows else [()] * 5
    kinds = (np.int64, np.int64, bool, bool, object)
    return tuple(map(np.array, (offsets, labels, video, audio, ids), kinds))


class _Reader:
    """Reads a file from a place on, and over what is passed by without reading it."""

    def __init__(self, descriptor: int, place: int, block: bytes):
        self._descriptor, self.place = descriptor, place
        self._start, self._block = place, block

    def bytes(self, count: int) -> bytes:
        """The next bytes; nothing that is asked for here is long."""
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


def _about(reader: _Reader, end: int) -> tuple[int, bool, bool, str]:
    found: dict[bytes, tf.train.Feature] = {}
    for name, length in _entries(reader, end):
        if name in _FEATURES:
            found[name] = tf.train.Feature.FromString(reader.bytes(length))
            if len(found) == len(_FEATURES):
                break
    ids, labels, video, audio = (found[name] for name in _FEATURES)
    label = labels.int64_list.value[0] if labels.int64_list.value else -1
    clip_id = ids.bytes_list.value[0].decode("utf-8", "backslashreplace")
    return label, video.int64_list.value[0] > 0, audio.int64_list.value[0] > 0, clip_id


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

"""Reads single clips out of record files, made small enough for a report.

It does without TensorFlow, whose import would take longer than the report, because it reads the job's own records only,
as `pemt_tf.data.record_format` writes them: every field is length-delimited, and numbers are packed. A test compares it
with TensorFlow.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from beam_jobs.engines import storage
from beam_jobs.report.index import IndexRow
from pemt_tf.config import ClipGeometry
from pemt_tf.data.dataset_card import DatasetCard
from pemt_tf.data.record_format import IMAGE, IMAGE_TIMESTAMP, LOG_MEL, SEQUENCE_LOG_MEL, read_records
from pemt_tf.formats.named import record_files
from pemt_tf.formats.record_files import TFRECORD, RecordShape
from pemt_tf.report.clip_views import clip_view, small_view
from pemt_tf.report.contents import ClipView

LENGTH_DELIMITED = 2
WANTED = frozenset({IMAGE, IMAGE_TIMESTAMP, LOG_MEL, SEQUENCE_LOG_MEL})
BYTES, FLOATS = 1, 2  # fields of a tf.train.Feature; the third holds whole numbers


def read_clips(folder: str, card: DatasetCard, rows: Collection[IndexRow]) -> dict[str, ClipView]:
    """Reads clips, by id. Of each record file only the part up to the last of them is read."""
    if card.format != TFRECORD:
        return _from_other_files(folder, card, rows)
    views = {}
    unique = {(row.file, row.row): row for row in rows}
    for name, group in itertools.groupby((unique[key] for key in sorted(unique)), key=lambda row: row.file):
        with storage.open_read(storage.join(folder, name)) as file:
            passed = 0
            for row in group:
                record = next(read_records(file, row.row - passed), None)
                passed = row.row + 1
                if record is None:
                    raise ValueError(f"{name} has no record {row.row}")
                views[row.id] = _view(record, row, card.geometry)
    return views


def _from_other_files(folder: str, card: DatasetCard, rows: Collection[IndexRow]) -> dict[str, ClipView]:
    """As `read_clips`, for forms that are read from local files only."""
    form, shape, views = record_files(card.format), RecordShape(card.geometry, card.payload), {}
    unique = {(row.file, row.row): row for row in rows}
    for name, group in itertools.groupby((unique[key] for key in sorted(unique)), key=lambda row: row.file):
        wanted = {row.row: row for row in group}
        first = min(wanted)
        with storage.local_copy(storage.join(folder, name)) as local:
            for number, record in enumerate(form.records(Path(local), shape, first), first):
                if number in wanted:
                    row = wanted.pop(number)
                    views[row.id] = _view(record, row, card.geometry)
                if not wanted:
                    break
        if wanted:
            raise ValueError(f"{name} has no record {min(wanted)}")
    return views


def _view(record: bytes, row: IndexRow, geometry: ClipGeometry) -> ClipView:
    features = read_features(record)
    jpegs, times = features.get(IMAGE, []), features.get(IMAGE_TIMESTAMP, [])
    log_mel = features.get(SEQUENCE_LOG_MEL, features.get(LOG_MEL))
    if log_mel is not None:
        log_mel = log_mel.reshape(geometry.segments, geometry.mel_bins, geometry.mel_frames)
    seconds = [time / 1e6 for time in times]
    return small_view(clip_view(row.id, ", ".join(row.labels), geometry, jpegs, seconds, log_mel))


def read_features(record: bytes) -> dict[str, Any]:  # what a value is follows from its name
    """Frames (JPEGs where they lie in the record), times (microseconds) and spectrogram ([values] float32) of a record.

    Of a `sequence_example` all entries of a list follow each other. Raises `ValueError` for other bytes.
    """
    features: dict[str, Any] = {}
    # An Example has one part, a SequenceExample another with lists; both are maps from names to values.
    for part, mapping in _fields(memoryview(record)):
        for _, entry in _fields(mapping):
            (_, key), (_, value) = _fields(entry)
            name = bytes(key).decode("utf-8", "replace")
            if name in WANTED:
                features[name] = _joined(list(_fields(value)) if part == 2 else [(1, value)])
    return features


def _joined(entries: list[tuple[int, memoryview]]) -> list | np.ndarray:
    """The values of several tf.train.Feature messages."""
    numbers: list[np.ndarray] = []
    others: list = []
    for _, feature in entries:
        for kind, values in _fields(feature):
            if kind == FLOATS:
                numbers += [np.frombuffer(packed, "<f4") for _, packed in _fields(values)]
            elif kind == BYTES:
                others += [value for _, value in _fields(values)]
            else:
                others += [number for _, packed in _fields(values) for number in _varints(packed)]
    return np.concatenate(numbers) if numbers else others


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Number and content of each field of a message."""
    place = 0
    while place < len(message):
        tag, place = _varint(message, place)
        length, place = _varint(message, place)
        if tag & 7 != LENGTH_DELIMITED or place + length > len(message):
            raise ValueError("a record is not in the form in which this job writes records")
        yield tag >> 3, message[place : place + length]
        place += length


def _varints(packed: memoryview) -> Iterator[int]:
    place = 0
    while place < len(packed):
        number, place = _varint(packed, place)
        yield number


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    """A number that is not negative, and the place behind it."""
    number = shift = 0
    while place < len(message):
        byte = message[place]
        number |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return number, place
    raise ValueError("a record ends within a number")

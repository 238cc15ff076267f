"""Reads frames, times and spectrogram of a record without TensorFlow, whose import would take longer than the report.

It reads the job's own records only, as `pemt_tf.data.record_format` writes them: every field is length-delimited, and
numbers are packed. A test compares it with TensorFlow.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from pemt_tf.data.record_format import IMAGE, IMAGE_TIMESTAMP, LOG_MEL, SEQUENCE_LOG_MEL

LENGTH_DELIMITED = 2
WANTED = frozenset({IMAGE, IMAGE_TIMESTAMP, LOG_MEL, SEQUENCE_LOG_MEL})
BYTES, FLOATS = 1, 2  # fields of a tf.train.Feature; the third holds whole numbers


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

"""Reads a few fields of a serialized record by its wire format, without TensorFlow, to check whole data sets.

A record is a `tf.train.Example` or `tf.train.SequenceExample`; `record_format.py` writes them.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pemt_tf.data.record_format import CLIP_ID, IMAGE, LABEL_INDEX, LOG_MEL, SEQUENCE_EXAMPLE, SEQUENCE_LOG_MEL

_VARINT, _EIGHT_BYTES, _SIZED, _FOUR_BYTES = 0, 1, 2, 5
_JPEG = b"\xff\xd8"


def record_fault(record: bytes, labels: int, payload: str) -> str:
    """What is wrong with the content of a record, to follow on "record 3"; empty if nothing is.

    `labels` is the size of the vocabulary.
    """
    try:
        features = features_of(record, 1)
        clip_id = b"".join(bytes_of(features[CLIP_ID])).decode("utf-8", "backslashreplace")
        indices = integers_of(features.get(LABEL_INDEX, memoryview(b"")))
        if payload == SEQUENCE_EXAMPLE:
            lists = features_of(record, 2)
            spectrograms, frames = entries_of(lists, SEQUENCE_LOG_MEL), entries_of(lists, IMAGE)
        else:
            spectrograms, frames = ([features[name]] if name in features else [] for name in (LOG_MEL, IMAGE))
        finite = all(np.isfinite(floats_of(values)).all() for values in spectrograms)
        jpegs = all(jpeg[:2] == _JPEG for values in frames for jpeg in bytes_of(values))
    except (KeyError, IndexError, ValueError):
        return "holds something else than a clip"
    unknown = [index for index in indices if not 0 <= index < labels]
    if unknown:
        return f"clip {clip_id!r}, has label {unknown[0]}, but the vocabulary has {labels} labels, from 0"
    if not finite:
        return f"clip {clip_id!r}, has NaN or infinity in its spectrogram"
    return "" if jpegs else f"clip {clip_id!r}, holds a frame that is not a JPEG"


def entries_of(lists: dict[str, memoryview], name: str) -> list[memoryview]:
    """The features of a feature list."""
    return list(_messages(lists[name], 1)) if name in lists else []


def features_of(record: bytes | memoryview, place: int) -> dict[str, memoryview]:
    """Name to serialized feature, or feature list, of the map in a field of the record."""
    found = {}
    for map_field in _messages(memoryview(record), place):
        for _, entry in _fields(map_field):
            parts = dict(_fields(_message(entry)))
            found[bytes(_message(parts[1])).decode()] = _message(parts.get(2, memoryview(b"")))
    return found


def _values(feature: memoryview, kind: int) -> Iterator[memoryview | int]:
    """Values of a feature if they are of a kind: 1 bytes, 2 floats, 3 integers; packed ones together."""
    for values in _messages(feature, kind):
        yield from (value for place, value in _fields(values) if place == 1)


def bytes_of(feature: memoryview) -> list[bytes]:
    """The byte strings of a feature."""
    return [bytes(_message(value)) for value in _values(feature, 1)]


def floats_of(feature: memoryview) -> np.ndarray:
    """The floats of a feature, [values] float32."""
    return np.frombuffer(b"".join(map(_message, _values(feature, 2))), "<f4")


def integers_of(feature: memoryview) -> list[int]:
    """The integers of a feature."""
    found = []
    for value in _values(feature, 3):
        if isinstance(value, int):
            found.append(value)
            continue
        place = 0
        while place < len(value):
            number, place = _varint(value, place)
            found.append(number)
    return [number - (1 << 64) if number >> 63 else number for number in found]


def _message(value: memoryview | int) -> memoryview:
    if isinstance(value, int):
        raise ValueError("a number in place of a message")
    return value


def _messages(message: memoryview, number: int) -> Iterator[memoryview]:
    """The messages in the fields of a number."""
    return (_message(value) for field, value in _fields(message) if field == number)


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    """Number and value of the fields of a message; ValueError or IndexError if it is not a message."""
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        kind = key & 7
        if kind == _VARINT:
            value, place = _varint(message, place)
            yield key >> 3, value
            continue
        if kind == _SIZED:
            size, place = _varint(message, place)
        elif kind in (_EIGHT_BYTES, _FOUR_BYTES):
            size = 8 if kind == _EIGHT_BYTES else 4
        else:
            raise ValueError("not a protocol buffer")
        if place + size > len(message):
            raise ValueError("cut off")
        yield key >> 3, message[place : place + size]
        place += size


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = message[place]
        number |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return number, place
        if shift > 63:
            raise ValueError("not a protocol buffer")

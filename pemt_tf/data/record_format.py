"""Records on disk: feature names, serialization, and record files. No TensorFlow is needed.

One clip is a `tf.train.Example` with MediaSequence names. Encoding its few features by hand spares the decoding
processes the import of TensorFlow (six seconds of CPU) and copies of every frame; a test compares the bytes with
TensorFlow's. A missing modality is a flag (`has_video`, `has_audio`) and an absent feature, never zeros that look like
data.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import BinaryIO

import google_crc32c
import numpy as np

from pemt_tf.config import ClipGeometry

CLIP_ID = "clip/id"
DATA_PATH = "clip/data_path"
START = "clip/start/timestamp"
END = "clip/end/timestamp"
LABEL_INDEX = "clip/label/index"
LABEL_STRING = "clip/label/string"
IMAGE = "image/encoded"
IMAGE_TIMESTAMP = "image/timestamp"
IMAGE_HEIGHT = "image/height"
IMAGE_WIDTH = "image/width"
LOG_MEL = "audio/log_mel"
WAVEFORM = "WAVEFORM/feature/floats"
WAVEFORM_RATE = "WAVEFORM/feature/rate"
SEQUENCE_LOG_MEL = "LOG_MEL/feature/floats"  # in a SequenceExample, one entry a segment
SEQUENCE_LOG_MEL_SHAPE = "LOG_MEL/feature/dimensions"
IMAGE_FORMAT = "image/format"
HAS_VIDEO = "has_video"
HAS_AUDIO = "has_audio"
EXTRA = "clip/extra/"  # and the name of a manifest's column

EXAMPLE, SEQUENCE_EXAMPLE = "example", "sequence_example"
PAYLOADS = (EXAMPLE, SEQUENCE_EXAMPLE)

HEADER_BYTES = 12  # before each record of a file: its length and a checksum of that
EXTRA_BYTES = 16  # header and, after the record, its checksum


@dataclass(frozen=True)
class ClipRecord:
    """One clip, ready to be written."""

    clip_id: str  # unique within the data set
    data_path: str  # the source, as given
    start: float  # range of the source, seconds
    end: float
    jpegs: list[bytes] | None  # segments x frames, row-major, all height x width pixels; None without video
    image_times: list[float]  # presentation time of each JPEG, seconds
    height: int  # pixels; 0 without video
    width: int
    log_mel: np.ndarray | None  # [segments, mel_bins, mel_frames] float32, natural-log mel power; None without audio
    labels: tuple[str, ...] = ()  # usually none or one
    label_indices: tuple[int, ...] = ()  # rows in the data set's vocabulary
    waveform: np.ndarray | None = None  # [segments, samples] float32, mono, full scale 1; None where it is not kept
    extra: tuple[tuple[str, str], ...] = ()  # the manifest's other columns, (column, value)


def microseconds(seconds: float) -> int:
    """Seconds to the integer microseconds that MediaSequence stores."""
    return round(seconds * 1e6)


def serialize(clip: ClipRecord, geometry: ClipGeometry, payload: str = EXAMPLE) -> bytes:
    """Serializes a clip; see `serialized_parts`."""
    return b"".join(serialized_parts(clip, geometry, payload))


def serialized_parts(clip: ClipRecord, geometry: ClipGeometry, payload: str = EXAMPLE) -> Parts:
    """The bytes of a clip's record in parts, not yet copied together; equal clips give equal bytes.

    A `tf.train.SequenceExample` has lists with one entry for each frame or segment. ValueError if the clip does not
    have this geometry: a programming error of the caller.
    """
    _check_shapes(clip, geometry)
    features = _scalars(clip)
    times = [microseconds(time) for time in clip.image_times]
    if payload == SEQUENCE_EXAMPLE:
        lists = {}
        if clip.jpegs is not None:
            features[IMAGE_FORMAT] = _bytes_list([b"JPEG"])
            lists[IMAGE] = [_bytes_list([jpeg]) for jpeg in clip.jpegs]
            lists[IMAGE_TIMESTAMP] = [_int64_list([time]) for time in times]
        if clip.log_mel is not None:
            features[SEQUENCE_LOG_MEL_SHAPE] = _int64_list([geometry.mel_bins, geometry.mel_frames])
            lists[SEQUENCE_LOG_MEL] = [_float_list(segment) for segment in clip.log_mel]
        if clip.waveform is not None:
            features[WAVEFORM_RATE] = _float_list(np.array(geometry.sample_rate))
            lists[WAVEFORM] = [_float_list(segment) for segment in clip.waveform]
        feature_lists = {name: [part for one in entries for part in _field(1, one)] for name, entries in lists.items()}
        return [*_field(1, _map(features)), *_field(2, _map(feature_lists))]
    if clip.jpegs is not None:
        features[IMAGE] = _bytes_list(clip.jpegs)
        features[IMAGE_TIMESTAMP] = _int64_list(times)
    if clip.log_mel is not None:
        features[LOG_MEL] = _float_list(clip.log_mel)
    if clip.waveform is not None:
        features[WAVEFORM] = _float_list(clip.waveform)
    return _field(1, _map(features))


def _check_shapes(clip: ClipRecord, geometry: ClipGeometry) -> None:
    count = geometry.segments * geometry.frames_per_segment
    if clip.jpegs is not None and not len(clip.jpegs) == len(clip.image_times) == count:
        raise ValueError(f"{clip.clip_id}: {len(clip.jpegs)} JPEGs, {len(clip.image_times)} times; expected {count}")
    mel_shape = (geometry.segments, geometry.mel_bins, geometry.mel_frames)
    if clip.log_mel is not None and clip.log_mel.shape != mel_shape:
        raise ValueError(f"{clip.clip_id}: log-mel has shape {clip.log_mel.shape}; expected {mel_shape}")
    wave_shape = (geometry.segments, geometry.samples_per_segment)
    if clip.waveform is not None and clip.waveform.shape != wave_shape:
        raise ValueError(f"{clip.clip_id}: the waveform has shape {clip.waveform.shape}; expected {wave_shape}")


def _scalars(clip: ClipRecord) -> dict[str, Parts]:
    return {
        CLIP_ID: _bytes_list([clip.clip_id.encode()]),
        DATA_PATH: _bytes_list([clip.data_path.encode("utf-8", "surrogateescape")]),
        START: _int64_list([microseconds(clip.start)]),
        END: _int64_list([microseconds(clip.end)]),
        LABEL_INDEX: _int64_list(clip.label_indices),
        LABEL_STRING: _bytes_list([label.encode() for label in clip.labels]),
        IMAGE_HEIGHT: _int64_list([clip.height]),
        IMAGE_WIDTH: _int64_list([clip.width]),
        HAS_VIDEO: _int64_list([int(clip.jpegs is not None)]),
        HAS_AUDIO: _int64_list([int(clip.log_mel is not None)]),
        **{EXTRA + name: _bytes_list([value.encode("utf-8", "surrogateescape")]) for name, value in clip.extra},
    }


# A message is built as a list of parts, joined once at the end. In the schema of tf.train.Example every field is either
# a nested message or packed numbers, so every field is "length-delimited" (wire type 2).
Parts = list[bytes]


def _field(number: int, parts: Parts) -> Parts:
    return [bytes([number << 3 | 2]), _varint(sum(map(len, parts))), *parts]


def _varint(number: int) -> bytes:
    if number < 0:
        number += 1 << 64
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def _bytes_list(values: list[bytes]) -> Parts:
    return _field(1, [part for value in values for part in (b"\x0a", _varint(len(value)), value)])


def _float_list(values: np.ndarray) -> Parts:
    return _field(2, _field(1, [np.ascontiguousarray(values, "<f4").tobytes()]))


def _int64_list(values: list[int] | tuple[int, ...]) -> Parts:
    return _field(3, _field(1, [b"".join(map(_varint, values))]) if values else [])


def _map(entries: dict[str, Parts]) -> Parts:
    """Entries (field 1) of key (1) and value (2), in the order of the keys."""
    parts: Parts = []
    for key, value in sorted(entries.items()):
        parts += _field(1, [*_field(1, [key.encode()]), *_field(2, value)])
    return parts


class RecordFile:
    """Writes a TFRecord file, open for writing, and its SHA-256."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self.bytes = 0

    @property
    def sha256(self) -> str:
        """SHA-256 of what was written so far, hexadecimal."""
        return self._digest.hexdigest()

    def write(self, record: bytes | memoryview) -> None:
        """Adds a record: its length, a checksum of that, the record, and its checksum."""
        length = struct.pack("<Q", len(record))
        for part in (length + _checksum(length), record, _checksum(record)):
            self._file.write(part)
            self._digest.update(part)
            self.bytes += len(part)


def read_records(file: BinaryIO, first: int = 0) -> Iterator[bytes]:
    """The records of a TFRecord file, open at its start; the `first` ones are skipped, without reading them.

    ValueError if the file is damaged, or ends within a record; says where.
    """
    number = offset = 0
    while header := file.read(HEADER_BYTES):
        length = _record_length(header, number, offset)
        if number < first:
            file.seek(length + 4, 1)
        else:
            record, checksum = file.read(length), file.read(4)
            if len(record) < length or checksum != _checksum(record):
                raise ValueError(f"record {number}, at byte {offset}, is damaged, or the file ends within it")
            yield record
        number, offset = number + 1, offset + EXTRA_BYTES + length


def find_records(file: Path | FileIO, ahead: int = HEADER_BYTES) -> Iterator[tuple[int, int, bytes]]:
    """The places of a TFRecord file's records, without reading the records; an open file must have no buffer.

    Yields for each record the byte at which it begins, its length without header, and its first bytes, `ahead` of them
    with the header. ValueError as in `read_records`.
    """
    if isinstance(file, Path):
        with file.open("rb", buffering=0) as opened:
            yield from find_records(opened, ahead)
        return
    number = offset = 0
    size = os.fstat(file.fileno()).st_size
    while offset < size:
        block = os.pread(file.fileno(), ahead, offset)
        length = _record_length(block[:HEADER_BYTES], number, offset)
        if offset + EXTRA_BYTES + length > size:
            raise ValueError(f"record {number}, at byte {offset}, is cut off")
        yield offset, length, block
        number, offset = number + 1, offset + EXTRA_BYTES + length


def _record_length(header: bytes, number: int, offset: int) -> int:
    """Length of the record that follows a header; `number` and `offset` are for the message."""
    if len(header) < HEADER_BYTES or header[8:] != _checksum(header[:8]):
        raise ValueError(f"record {number}, at byte {offset}, has a damaged header")
    return struct.unpack("<Q", header[:8])[0]


def _checksum(data: bytes | memoryview) -> bytes:
    """CRC-32C, masked as TFRecord files have it: checksums of data that holds checksums would be weak."""
    value = google_crc32c.value(np.frombuffer(data, np.uint8))  # it takes no memoryview
    return struct.pack("<I", ((value >> 15 | value << 17) + 0xA282EAD8) & 0xFFFFFFFF)

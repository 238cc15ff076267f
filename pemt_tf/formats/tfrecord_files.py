"""TFRecord files: what training reads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pemt_tf.data.record_format import RecordFile, read_records
from pemt_tf.formats.named import SUFFIXES
from pemt_tf.formats.record_files import TFRECORD, RecordFiles, RecordShape, RecordSink

WRITE_BYTES = 2**20


class TFRecordFiles(RecordFiles):
    """Serialized records one after the other, each with its length and checksums."""

    name, suffix, keeps_bytes = TFRECORD, SUFFIXES[TFRECORD], True

    def sink(self, path: Path, name: str, shape: RecordShape) -> RecordSink:
        """Begins a file; see `RecordFiles.sink`."""
        return TFRecordSink(path)

    def records(self, path: Path, shape: RecordShape, first: int = 0) -> Iterator[bytes]:
        """The records of a file; see `RecordFiles.records`."""
        with path.open("rb") as file:
            yield from read_records(file, first)


class TFRecordSink(RecordSink):
    """Writes a TFRecord file."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb", WRITE_BYTES)
        self._records = RecordFile(self._file)

    def write(self, record: bytes | memoryview) -> None:
        """Adds a record."""
        self._records.write(record)

    def close(self) -> None:
        """Completes the file."""
        self._file.close()

    def digest(self) -> tuple[int, str]:
        """Size and SHA-256 of the file."""
        return self._records.bytes, self._records.sha256

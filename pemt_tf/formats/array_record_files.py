"""ArrayRecord files, which `grain` reads: any record is found at once. The package `array-record` is an extra."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from pemt_tf.errors import PemtError
from pemt_tf.formats.named import SUFFIXES
from pemt_tf.formats.record_files import ARRAY_RECORD, RecordFiles, RecordShape, RecordSink, file_digest

# One record a group, or finding one would mean to read its neighbours. JPEGs cannot be compressed further.
OPTIONS = "group_size:1,uncompressed"


class ArrayRecordFiles(RecordFiles):
    """Serialized records, found by an index at the end of the file."""

    name, suffix, keeps_bytes = ARRAY_RECORD, SUFFIXES[ARRAY_RECORD], True

    def require(self) -> None:
        """Refuses with a PemtError if the package is missing."""
        _module()

    def sink(self, path: Path, name: str, shape: RecordShape) -> RecordSink:
        """Begins a file; see `RecordFiles.sink`."""
        return ArrayRecordSink(path)

    def records(self, path: Path, shape: RecordShape, first: int = 0) -> Iterator[bytes]:
        """The records of a file; see `RecordFiles.records`."""
        if not path.stat().st_size:
            return
        try:
            # Closing tells that the index at the end of the file is gone, without which there seems to be no record.
            with contextlib.closing(_module().ArrayRecordReader(str(path))) as reader:
                for number in range(first, reader.num_records()):
                    (record,) = reader.read([number])
                    yield record
        except RuntimeError as error:
            raise ValueError(_said(error)) from None


class ArrayRecordSink(RecordSink):
    """Writes an ArrayRecord file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.open("wb").close()  # its own errors are no OSErrors
        self._writer = _module().ArrayRecordWriter(str(path), OPTIONS)

    def write(self, record: bytes | memoryview) -> None:
        """Adds a record."""
        with _as_os_error():
            self._writer.write(bytes(record))

    def close(self) -> None:
        """Completes the file."""
        if self._writer.is_open():
            with _as_os_error():
                self._writer.close()

    def digest(self) -> tuple[int, str]:
        """Size and SHA-256 of the file."""
        return file_digest(self._path)


def _module():
    try:
        from array_record.python import array_record_module
    except ImportError as error:
        raise PemtError(
            f"ArrayRecord files need the package array-record, which is not installed ({_said(error)}); install the "
            "extra: pip install 'pemt-tf[formats]'"
        ) from None
    return array_record_module


@contextlib.contextmanager
def _as_os_error() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise OSError(_said(error)) from None


def _said(error: Exception) -> str:
    return " ".join(str(error).split())

"""Media inside of other files: a member of a tar, or a cell of a Parquet file; found by its place, never by searching.

An input's `path` names such a place in one text, so that plans, workers and outcomes carry it as they carry a file's.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
import threading
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import IO, Any

from beam_jobs.engines import storage

MEMBER = "member:"
TAR, PARQUET = "tar", "parquet"
COPY_BYTES = 2**20
_open_groups = threading.local()  # each worker reads one row group at a time


def tar_member(container: str, name: str, offset: int, size: int) -> str:
    """The place of a tar's member: `size` bytes from `offset` on."""
    return _place(TAR, container, _suffix(name), offset, size)


def parquet_cell(container: str, name: str, column: str, group: int, row: int) -> str:
    """The place of a cell: a row, counted from 0 in its row group, of a column of bytes."""
    return _place(PARQUET, container, _suffix(name), column, group, row)


def _place(*parts: Any) -> str:
    return MEMBER + json.dumps(parts)


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix[: storage.LONGEST_SUFFIX]


def described(path: str) -> str:
    """An input's path, for messages."""
    if not path.startswith(MEMBER):
        return path
    kind, container, _, *rest = json.loads(path.removeprefix(MEMBER))
    if kind == TAR:
        return f"{container} (bytes {rest[0]} to {rest[0] + rest[1]})"
    return f"{container} (column {rest[0]!r}, row {rest[2]} of row group {rest[1]})"


def dealt_as(path: str, name: str) -> str:
    """What decides which record file an input goes to: its name; for a cell its row group, which is read at once."""
    if not path.startswith(MEMBER):
        return name
    kind, container, _, *rest = json.loads(path.removeprefix(MEMBER))
    return f"{PurePosixPath(container).name}#{rest[1]}" if kind == PARQUET else name


@contextlib.contextmanager
def local_file(path: str) -> Iterator[str]:
    """Yields a local path to an input's file, or to a copy of it if it is remote or inside of another file.

    OSError if there is none, or the file around it is damaged.
    """
    if not path.startswith(MEMBER):
        with storage.local_copy(path) as local:
            yield local
        return
    kind, container, suffix, *rest = json.loads(path.removeprefix(MEMBER))
    with tempfile.NamedTemporaryFile(suffix=suffix) as copy:
        if kind == TAR:
            with storage.open_read(container) as file:
                _copy(file, copy, *rest)
        else:
            column, group, row = rest
            _row_group(container, column, group).copy(row, copy)
        copy.flush()
        yield copy.name


def _copy(source: IO[bytes], target: IO[bytes], offset: int, size: int) -> None:
    source.seek(offset)
    while size:
        block = source.read(min(size, COPY_BYTES))
        if not block:
            raise OSError(f"the file ends {size} bytes before the end of this member")
        target.write(block)
        size -= len(block)


def _row_group(container: str, column: str, number: int) -> RowGroup:
    """The row group that this thread has open; a plan keeps the rows of one together."""
    wanted = (container, column, number)
    current = getattr(_open_groups, "current", None)
    if current is None or current.place != wanted:
        _open_groups.current = None  # its disk space is free before more is taken
        current = _open_groups.current = RowGroup(*wanted)
    return current


class RowGroup:
    """The bytes in one column of a row group, read once from the start to the end, into a temporary file.

    A row in the middle cannot be found without reading those before it. Memory holds one page of the column.
    """

    def __init__(self, container: str, column: str, number: int) -> None:
        import pyarrow as pa  # only workers that read Parquet need it
        import pyarrow.parquet as pq

        self.place = (container, column, number)
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - deleted with this object
        self._rows: list[tuple[int, int] | None] = []
        try:
            with storage.open_read(container) as file, pq.ParquetFile(file, buffer_size=COPY_BYTES) as table:
                for batch in table.iter_batches(1, row_groups=[number], columns=[column]):
                    self._add(batch.column(0)[0].as_py())
        except pa.ArrowException as error:
            raise OSError(f"{container} is damaged: {' '.join(str(error).split())}") from None

    def _add(self, value: Any) -> None:
        content = value["bytes"] if isinstance(value, dict) else value
        start = self._file.tell()
        self._rows.append(None if content is None else (start, len(content)))
        if content is not None:
            self._file.write(content)

    def copy(self, row: int, target: IO[bytes]) -> None:
        """Copies the bytes of a row; OSError if it has none."""
        found = self._rows[row] if row < len(self._rows) else None
        if found is None:
            raise OSError("the row holds no bytes")
        _copy(self._file, target, *found)
        self._file.seek(0, 2)

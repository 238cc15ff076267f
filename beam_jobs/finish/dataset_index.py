"""The index, `index.parquet`: one row for each clip, in the order of the record files.

Its columns are converted here, from and to the buffers that the Arrow format defines
(https://arrow.apache.org/docs/format/Columnar.html): `pyarrow.array`, `Table.from_pylist` and `to_numpy` import pandas
where it is installed, which took more CPU time than any other part of preparing a small data set.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from beam_jobs.engines import storage
from beam_jobs.worker.outcomes import FLAGS, InputOutcome, WrittenClip

INDEX_NAME = "index.parquet"
ROWS_AT_ONCE = 4096
MEASURED = ("bytes", *FLAGS, "loudness_db", "peak_db", "motion", "brightness")
NUMBERS = {pa.int64(): "<i8", pa.float64(): "<f8"}

COLUMNS = (
    (pa.string(), "id path"),
    (pa.float64(), "start end"),
    (pa.string(), "label"),
    (pa.list_(pa.string()), "labels"),
    (pa.string(), "split group file"),
    (pa.int64(), "row bytes"),
    (pa.bool_(), "has_video has_audio silent frozen"),
    (pa.float64(), "loudness_db peak_db motion brightness"),
    (pa.binary(), "picture_hash sound_hash"),
    (pa.list_(pa.string()), "notes"),
    (pa.float64(), "source_duration source_frame_rate"),
    (pa.int64(), "source_width source_height"),
    (pa.string(), "source_video_codec source_audio_codec"),
    (pa.int64(), "source_sample_rate source_channels"),
    (pa.map_(pa.string(), pa.string()), "extra"),
)
SCHEMA = pa.schema([(name, kind) for kind, names in COLUMNS for name in names.split()])


class IndexWriter:
    """Writes the index row by row; memory does not grow with it. Use it as a context manager."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._rows: list[dict[str, Any]] = []
        self._row_of_file: dict[str, int] = {}

    def __enter__(self) -> IndexWriter:
        self._stack = contextlib.ExitStack()
        path = self._stack.enter_context(storage.whole_file(storage.join(self._folder, INDEX_NAME)))
        self._writer = self._stack.enter_context(pq.ParquetWriter(path, SCHEMA, compression="zstd"))
        return self

    def __exit__(self, *error: Any) -> None:
        self._flush()
        self._stack.__exit__(*error)

    def add(self, outcome: InputOutcome, clip: WrittenClip, file: str) -> None:
        """Adds the next clip of a record file."""
        row = self._row_of_file.get(file, 0)
        self._row_of_file = {file: row + 1}
        self._rows.append(_row(outcome, clip, file, row))
        if len(self._rows) == ROWS_AT_ONCE:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            self._writer.write_table(table(self._rows, SCHEMA))
            self._rows = []


def _row(outcome: InputOutcome, clip: WrittenClip, file: str, row: int) -> dict[str, Any]:
    one = outcome.input
    return {
        "id": clip.clip_id,
        "path": _text(one.name),
        "start": clip.start,
        "end": clip.end,
        "label": one.label,
        "labels": one.labels,
        "split": one.split,
        "group": _text(one.group_name),
        "file": file,
        "row": row,
        **{name: getattr(clip, name) for name in MEASURED},
        "picture_hash": bytes.fromhex(clip.picture_hash) or None,
        "sound_hash": bytes.fromhex(clip.sound_hash) or None,
        "notes": clip.notes,
        **{f"source_{name}": value for name, value in outcome.source.items()},
        "extra": one.extra,
    }


def _text(name: str) -> str:
    """A file name as text; bytes that are not UTF-8 are written as escapes."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def column(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """One column of strings, bytes, flags, int64 or float64, or of lists or maps of these; None becomes null."""
    if pa.types.is_list(kind):
        lists = [value or () for value in values]
        parts = [column(list(chain.from_iterable(lists)), kind.value_type)]
        return pa.Array.from_buffers(kind, len(values), [_validity(values), _offsets(lists)], children=parts)
    if pa.types.is_map(kind):
        lists = [value or () for value in values]
        pairs = list(chain.from_iterable(lists))
        sides = [
            column([pair[side] for pair in pairs], part) for side, part in enumerate((kind.key_type, kind.item_type))
        ]
        entries = pa.struct([kind.key_field, kind.item_field])
        structs = pa.Array.from_buffers(entries, len(pairs), [None], children=sides)
        return pa.Array.from_buffers(kind, len(values), [_validity(values), _offsets(lists)], children=[structs])
    return pa.Array.from_buffers(kind, len(values), [_validity(values), *_contents(values, kind)])


def table(rows: Sequence[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    """A table; a value that a row lacks is null."""
    columns = [column([row.get(field.name) for row in rows], field.type) for field in schema]
    return pa.Table.from_arrays(columns, schema=schema)


def numbers(values: pa.ChunkedArray) -> np.ndarray:
    """Numbers or flags as an array, [rows] float64; NaN for null."""
    parts = [np.zeros(0)]
    for chunk in values.chunks:
        validity, data = chunk.buffers()
        place = slice(chunk.offset, chunk.offset + len(chunk))
        if pa.types.is_boolean(chunk.type):
            part = _flags(data)[place].astype(np.float64)
        else:
            part = np.frombuffer(data, NUMBERS[chunk.type])[place].astype(np.float64)
        if validity is not None:
            part[~_flags(validity)[place]] = np.nan
        parts.append(part)
    return np.concatenate(parts)


def _flags(bits: pa.Buffer) -> np.ndarray:
    return np.unpackbits(np.frombuffer(bits, np.uint8), bitorder="little").astype(bool)


def _contents(values: Sequence[Any], kind: pa.DataType) -> list[pa.Buffer]:
    if pa.types.is_string(kind) or pa.types.is_binary(kind):
        encoded = [value.encode() if isinstance(value, str) else value or b"" for value in values]
        return [_offsets(encoded), pa.py_buffer(b"".join(encoded))]
    if pa.types.is_boolean(kind):
        return [_bits(bool(value) for value in values)]
    return [pa.py_buffer(np.array([0 if value is None else value for value in values], NUMBERS[kind]).tobytes())]


def _validity(values: Sequence[Any]) -> pa.Buffer | None:
    """Bits that mark the values that are not null; None where all are."""
    return _bits(value is not None for value in values) if None in values else None


def _bits(flags: Iterable[bool]) -> pa.Buffer:
    return pa.py_buffer(np.packbits(np.fromiter(flags, bool), bitorder="little").tobytes())


def _offsets(values: Sequence[Sequence[Any]]) -> pa.Buffer:
    """The start of each value, and the end of the last one."""
    ends = np.cumsum([0, *map(len, values)])
    if ends[-1] > np.iinfo(np.int32).max:
        raise ValueError(f"{ends[-1]} bytes or values in one column; take fewer rows at once")
    return pa.py_buffer(ends.astype("<i4").tobytes())

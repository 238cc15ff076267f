"""Converts Python values to Arrow columns, and Arrow columns to NumPy, without pandas.

`pyarrow.array`, `Table.from_pylist` and `to_numpy` import pandas where it is installed, to check for its types. That
took more CPU time than any other part of preparing a small data set. So the buffers of the few kinds of columns in a
data set's index are read and written here, as the Arrow format defines them
(https://arrow.apache.org/docs/format/Columnar.html).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa

NUMBERS = {pa.int64(): "<i8", pa.float64(): "<f8"}


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

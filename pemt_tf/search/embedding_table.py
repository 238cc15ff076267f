"""Embeddings and the properties of their clips, as an Arrow table with one row per clip."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pemt_tf.errors import PemtError

BLOCK_ROWS = 8192
VECTOR = "vector"
_ABOUT = {
    "id": pa.string(),
    "path": pa.string(),
    "start": pa.float64(),
    "end": pa.float64(),
    "label": pa.string(),
    "split": pa.string(),
    "has_video": pa.bool_(),
    "has_audio": pa.bool_(),
}
ABOUT = tuple(_ABOUT)
_MAY_BE_NULL = ("label", "split")


@dataclass(frozen=True, eq=False)
class Block:
    """Consecutive rows."""

    first: int  # number of the first row within all rows
    about: pa.RecordBatch  # the requested columns
    vectors: np.ndarray  # [rows, width] float32


def embedding_schema(width: int) -> pa.Schema:
    """Columns and types of a table of embeddings with `width` numbers."""
    fields = [pa.field(name, kind, nullable=name in _MAY_BE_NULL) for name, kind in _ABOUT.items()]
    return pa.schema([*fields, pa.field(VECTOR, pa.list_(pa.field("element", pa.float32(), False), width), False)])


def embedding_table(rows: Sequence[dict], vectors: np.ndarray) -> pa.Table:
    """A table of embeddings, [rows, width] float32.

    A row has a value for each name in `ABOUT`; None for a label or split that it lacks; times in seconds.
    """
    vectors = np.ascontiguousarray(vectors, np.float32)
    schema = embedding_schema(vectors.shape[1])
    columns = [pa.array([row[name] for row in rows], schema.field(name).type) for name in ABOUT]
    flat = pa.array(vectors.ravel(), pa.float32())
    columns.append(pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1]).cast(schema.field(VECTOR).type))
    return pa.Table.from_arrays(columns, schema=schema)


def vectors_of(batch: pa.RecordBatch) -> np.ndarray:
    """[rows, width] float32."""
    column = batch.column(batch.schema.names.index(VECTOR))
    if not pa.types.is_fixed_size_list(column.type) or column.null_count:
        raise PemtError(f"column {VECTOR!r} holds {column.type}; expected a fixed number of float32 in every row")
    return column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), column.type.list_size)


class EmbeddedClips:
    """Embeddings in memory: an `embedding_table`."""

    def __init__(self, table: pa.Table):
        self.table = table

    @property
    def count(self) -> int:
        """Number of clips."""
        return self.table.num_rows

    @property
    def width(self) -> int:
        """Numbers per embedding."""
        return self.table.schema.field(VECTOR).type.list_size

    def blocks(self, columns: Sequence[str] = ()) -> Iterator[Block]:
        """All rows, with these columns beside the vectors."""
        first = 0
        for batch in self.table.to_batches(BLOCK_ROWS):
            yield Block(first, select_columns(batch, columns), vectors_of(batch))
            first += batch.num_rows

    def take(self, rows: Sequence[int]) -> list[dict]:
        """The columns `ABOUT` of some clips, in the given order."""
        return self.table.select(list(ABOUT)).take(pa.array(rows, pa.int64())).to_pylist()

    def find(self, clip_id: str) -> int | None:
        """The row of a clip."""
        row = pc.index(self.table.column("id"), pa.scalar(clip_id)).as_py()
        return None if row < 0 else row

    def vector(self, row: int) -> np.ndarray:
        """[width] float32."""
        return np.array(self.table.column(VECTOR)[row].as_py(), np.float32)


def select_columns(batch: pa.RecordBatch, columns: Sequence[str]) -> pa.RecordBatch:
    """Some columns of a batch, in the order in which they are named."""
    # The pyarrow of the legacy stack has no RecordBatch.select.
    return pa.RecordBatch.from_arrays([batch.column(batch.schema.names.index(name)) for name in columns], list(columns))

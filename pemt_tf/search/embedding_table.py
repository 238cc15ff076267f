"""Embeddings and the properties of their clips, as an Arrow table with one row per clip."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

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
_LIST = pa.list_(pa.float32())
_MAY_BE_NULL = ("label", "split")
# Columns of vectors in the aligned space, and the column that says whether the clip has the modality.
ALIGNED = {"aligned_visual": "has_video", "aligned_audio": "has_audio"}


@dataclass(frozen=True, eq=False)
class Block:
    """Consecutive rows; of a column in which a clip may have no vector, those of them that have one."""

    first: int  # number of the first row within all rows
    about: pa.RecordBatch  # the requested columns
    vectors: np.ndarray  # [rows, width] float32
    there: np.ndarray | None = None  # [rows] int64, which of the consecutive rows these are; None for all

    @property
    def rows(self) -> np.ndarray:
        """[rows] int64, the numbers of the rows within all rows."""
        return self.first + (np.arange(len(self.vectors)) if self.there is None else self.there)


def embedding_schema(width: int, aligned: Sequence[str] = ()) -> pa.Schema:
    """Columns and types of a table of embeddings with `width` numbers, and of some of the columns `ALIGNED`."""
    fields = [pa.field(name, kind, nullable=name in _MAY_BE_NULL) for name, kind in _ABOUT.items()]
    fields.append(pa.field(VECTOR, pa.list_(pa.field("element", pa.float32(), False), width), False))
    # Lists of any length, because older releases of Arrow cannot read nulls among those of a fixed one.
    return pa.schema([*fields, *(pa.field(name, _LIST) for name in aligned)])


def embedding_table(
    rows: Sequence[dict], vectors: np.ndarray, aligned: Mapping[str, np.ndarray] = MappingProxyType({})
) -> pa.Table:
    """A table of embeddings, [rows, width] float32.

    A row has a value for each name in `ABOUT`; None for a label or split that it lacks; times in seconds. `aligned` are
    the columns `ALIGNED`, [rows, width] float32, if there are any; those of clips without the modality become null.
    """
    vectors = np.ascontiguousarray(vectors, np.float32)
    schema = embedding_schema(vectors.shape[1], list(aligned))
    columns = [pa.array([row[name] for row in rows], schema.field(name).type) for name in ABOUT]
    flat = pa.array(vectors.ravel(), pa.float32())
    columns.append(pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1]).cast(schema.field(VECTOR).type))
    for name, places in aligned.items():
        there = np.array([row[ALIGNED[name]] for row in rows], bool)
        columns.append(pa.array([place if has else None for place, has in zip(places, there, strict=True)], _LIST))
    return pa.Table.from_arrays(columns, schema=schema)


def vectors_of(batch: pa.RecordBatch) -> np.ndarray:
    """[rows, width] float32."""
    column = batch.column(batch.schema.names.index(VECTOR))
    if not pa.types.is_fixed_size_list(column.type) or column.null_count:
        raise PemtError(f"column {VECTOR!r} holds {column.type}; expected a fixed number of float32 in every row")
    return column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), column.type.list_size)


def aligned_vectors_of(batch: pa.RecordBatch, name: str) -> tuple[np.ndarray, np.ndarray]:
    """The rows [with a vector] int64 that have one in a column of `ALIGNED`, and these vectors [with one, width]."""
    column = batch.column(batch.schema.names.index(name))
    there = np.flatnonzero(column.is_valid().to_numpy(zero_copy_only=False))
    lengths = {len(place) for place in column.take(pa.array(there))} if pa.types.is_list(column.type) else {-1, -2}
    if len(lengths) > 1:
        raise PemtError(f"column {name!r} holds {column.type}; expected lists of float32 of one length, or null")
    vectors = column.flatten().to_numpy(zero_copy_only=False).astype(np.float32, copy=False)
    return there, vectors.reshape(len(there), *lengths or {0})


def nothing_aligned(where: str, column: str) -> PemtError:
    """Why a search in a column of `ALIGNED` finds nothing: no clip has the modality."""
    missing = "frames" if column == "aligned_visual" else "audio"
    return PemtError(f"no clip of {where} has {missing}, so nothing can be compared; search without --aligned")


class EmbeddedClips:
    """Embeddings in memory: an `embedding_table`; `column` is the one with the vectors to search."""

    def __init__(self, table: pa.Table, column: str = VECTOR):
        self.table, self.column = table, column

    @property
    def count(self) -> int:
        """Number of clips."""
        return self.table.num_rows

    @property
    def width(self) -> int:
        """Numbers per vector."""
        if self.column == VECTOR:
            return self.table.schema.field(VECTOR).type.list_size
        return max((block.vectors.shape[1] for block in self.blocks()), default=0)

    def blocks(self, columns: Sequence[str] = ()) -> Iterator[Block]:
        """All rows, with these columns beside the vectors."""
        first = 0
        for batch in self.table.to_batches(BLOCK_ROWS):
            yield block_of(first, batch, columns, self.column)
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


def block_of(first: int, batch: pa.RecordBatch, columns: Sequence[str], name: str) -> Block:
    """The rows of a batch with their vectors in a column, without rows that have none there."""
    if name == VECTOR:
        return Block(first, select_columns(batch, columns), vectors_of(batch))
    there, vectors = aligned_vectors_of(batch, name)
    about = select_columns(batch, columns)
    return Block(first, about.take(pa.array(there)) if columns else about, vectors, there)


def select_columns(batch: pa.RecordBatch, columns: Sequence[str]) -> pa.RecordBatch:
    """Some columns of a batch, in the order in which they are named."""
    # The pyarrow of the legacy stack has no RecordBatch.select.
    return pa.RecordBatch.from_arrays([batch.column(batch.schema.names.index(name)) for name in columns], list(columns))

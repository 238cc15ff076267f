"""Embeddings in the Parquet files of `beam_jobs.embed`, read in blocks: a search needs the memory of one block."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pemt_tf.errors import PemtError
from pemt_tf.search.embedding_card import EmbeddingCard
from pemt_tf.search.embedding_table import ABOUT, BLOCK_ROWS, VECTOR, Block, block_of, nothing_aligned, select_columns

RECORD_FILES = b"pemt.record_files"  # key of the Parquet metadata: JSON, [record file, its rows] in order


class EmbeddingStore:
    """Embeddings in a folder of `beam_jobs.embed`, with the same methods as `EmbeddedClips`.

    `column` is the one with the vectors to search. Raises PemtError if there are no finished embeddings, none at all,
    or no such column.
    """

    def __init__(self, directory: str | Path, column: str = VECTOR):
        self.directory, self.column = Path(directory), column
        self.card = EmbeddingCard.read(self.directory)
        if not self.card.written:
            raise PemtError(f"{self.directory} holds no clip; there is nothing to search")
        if column != VECTOR and (self.card.aligned is None or column not in self.card.aligned.rows):
            raise PemtError(
                f"{self.directory} has no vectors {column}, because its model has no aligned space of frames and "
                "audio; pretrain with --set pretrain.alignment_weight=1, export and embed again, or search without "
                "--aligned"
            )
        if not self.vectors:
            raise nothing_aligned(str(self.directory), column)
        self._firsts = dict(zip(self.card.files, np.cumsum([0, *self.card.files.values()]).tolist(), strict=False))

    @property
    def count(self) -> int:
        """Number of clips."""
        return self.card.written

    @property
    def vectors(self) -> int:
        """Number of clips that have a vector in the column."""
        return self.count if self.column == VECTOR or self.card.aligned is None else self.card.aligned.rows[self.column]

    @property
    def width(self) -> int:
        """Numbers per vector."""
        aligned = self.card.aligned
        return self.card.vector_size if self.column == VECTOR or aligned is None else aligned.size

    def blocks(self, columns: Sequence[str] = ()) -> Iterator[Block]:
        """All rows, with these columns beside the vectors."""
        for name, first in self._firsts.items():
            for batch in self._batches(name, [*columns, self.column]):
                yield self._checked_block(name, first, batch, columns)
                first += batch.num_rows

    def take(self, rows: Sequence[int]) -> list[dict]:
        """The columns `ABOUT` of some clips, in the given order."""
        found: dict[int, dict] = {}
        for name, first in self._firsts.items():
            here = [row for row in rows if first <= row < first + self.card.files[name]]
            if here:
                table = pa.Table.from_batches(self._batches(name, list(ABOUT)))
                values = table.take(pa.array([row - first for row in here], pa.int64())).to_pylist()
                found |= dict(zip(here, values, strict=True))
        return [found[row] for row in rows]

    def find(self, clip_id: str) -> int | None:
        """The row of a clip."""
        for name, row in self._firsts.items():
            for batch in self._batches(name, ["id"]):
                place = pc.index(batch.column(0), pa.scalar(clip_id)).as_py()
                if place >= 0:
                    return row + place
                row += batch.num_rows
        return None

    def vector(self, row: int) -> np.ndarray:
        """[width] float32, of a row that has one."""
        name = next(name for name, first in reversed(self._firsts.items()) if first <= row)
        first = self._firsts[name]
        for batch in self._batches(name, [self.column]):
            if row < first + batch.num_rows:
                block = self._checked_block(name, first, batch)
                return block.vectors[block.rows == row][0].copy()
            first += batch.num_rows
        raise AssertionError(f"row {row} was counted in {name}")

    def record_files(self, rows: Iterable[int]) -> list[str]:
        """The record files, relative to the data set, with the records of some rows."""
        wanted, files = np.array(sorted(rows), np.int64), {}
        for name, first in self._firsts.items():
            here = wanted[(first <= wanted) & (wanted < first + self.card.files[name])]
            if len(here):
                counted = self._counted_record_files(name)
                ends = first + np.cumsum([count for _, count in counted])
                places = np.unique(np.searchsorted(ends, here, side="right"))
                files |= dict.fromkeys(counted[place][0] for place in places if place < len(counted))
        return list(files)

    def _counted_record_files(self, name: str) -> list[tuple[str, int]]:
        """Record files and their numbers of rows, in the order of the rows of a Parquet file; empty for videos."""
        path = self.directory / name
        try:
            return json.loads((pq.read_schema(path).metadata or {}).get(RECORD_FILES, b"[]"))
        except (OSError, ValueError, pa.ArrowException) as error:
            raise _unreadable(path, error) from None

    def _batches(self, name: str, columns: list[str]) -> Iterator[pa.RecordBatch]:
        path = self.directory / name
        rows = 0
        try:
            with path.open("rb") as source:
                file = pq.ParquetFile(source)
                missing = [column for column in columns if column not in file.schema_arrow.names]
                if missing:
                    raise PemtError(f"{path} has no column {missing[0]!r}; run beam_jobs.embed again")
                for batch in file.iter_batches(BLOCK_ROWS, columns=columns):
                    rows += batch.num_rows
                    # Parquet gives columns in the order of the file.
                    yield select_columns(batch, columns)
        except (OSError, pa.ArrowException) as error:
            raise _unreadable(path, error) from None
        if rows != self.card.files[name]:
            raise PemtError(
                f"{path} holds {rows} clips, the card says {self.card.files[name]}; run beam_jobs.embed again"
            )

    def _checked_block(self, name: str, first: int, batch: pa.RecordBatch, columns: Sequence[str] = ()) -> Block:
        try:
            block = block_of(first, batch, columns, self.column)
        except PemtError as error:
            raise PemtError(f"{self.directory / name}: {error}; run beam_jobs.embed again") from None
        found = block.vectors.shape[1]
        if found != self.width and len(block.vectors):
            raise PemtError(
                f"{self.directory / name} holds vectors of {found} numbers, the card says {self.width}; "
                "run beam_jobs.embed again"
            )
        return block


def _unreadable(path: Path, error: Exception) -> PemtError:
    said = " ".join(str(getattr(error, "strerror", None) or error).split())
    return PemtError(f"{path} cannot be read ({said}); run beam_jobs.embed again")

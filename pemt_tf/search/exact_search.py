"""Finds the clips whose embeddings are most similar to one embedding: exact, by one matrix product a block."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pemt_tf.errors import PemtError
from pemt_tf.models.finite_outputs import finite_rows, require_finite
from pemt_tf.search.embedding_store import EmbeddingStore
from pemt_tf.search.embedding_table import Block, EmbeddedClips
from pemt_tf.search.knn import best_of

Searchable = EmbeddedClips | EmbeddingStore
# Arrow columns of some rows -> [rows] bool, true where a clip may be found.
Filter = Callable[[pa.RecordBatch], np.ndarray]
FILTER_COLUMNS = ("id", "path", "split")


@dataclass(frozen=True)
class Hit:
    """A found clip."""

    clip_id: str
    path: str  # the clip's file
    label: str  # empty without one
    similarity: float  # cosine, -1 to 1
    start: float = 0.0  # seconds
    end: float = 0.0  # seconds
    split: str = ""  # empty without one
    row: int = -1  # within what was searched


def search(
    clips: Searchable, query: np.ndarray, k: int, exclude: str | None = None, keep: Filter | None = None
) -> list[Hit]:
    """The k clips most similar to an embedding, best first, equal ones in order of rows; fewer where there are fewer.

    Args:
        query: [width] float32.
        exclude: id of a clip to leave out.
        keep: filter of the clips that may be found; receives the columns `FILTER_COLUMNS`.
    """
    require_width(clips, query)
    query = np.ascontiguousarray(query, np.float32)
    best_rows, best = np.zeros(0, np.int64), np.zeros(0, np.float32)
    columns = FILTER_COLUMNS if keep is not None or exclude is not None else ()
    for block in clips.blocks(columns):
        require_finite_block(clips, block)
        similarity = cosines(block.vectors, query)
        rows = block.rows
        if columns:
            wanted = np.ones(len(rows), bool) if keep is None else keep(block.about)
            if exclude is not None:
                wanted = wanted & ~equals(block.about, "id", exclude)
            rows, similarity = rows[wanted], similarity[wanted]
        rows = np.concatenate([best_rows, rows])
        (places,), (best,) = best_of(np.concatenate([best, similarity])[None], k)
        best_rows = rows[places]
    return describe_hits(clips, best_rows.tolist(), best.tolist())


def require_width(clips: Searchable, query: np.ndarray) -> None:
    """Raises PemtError unless the query has the width of the embeddings."""
    if query.shape[-1] != clips.width:
        raise PemtError(
            f"the query has {query.shape[-1]} numbers, the embeddings have {clips.width}; they are of different models"
        )


def require_finite_block(clips: Searchable, block: Block) -> None:
    """Raises PemtError with the clips' ids if an embedding is NaN or infinite."""
    rows = np.flatnonzero(~finite_rows(block.vectors))
    if len(rows):
        ids = [about["id"] for about in clips.take(block.rows[rows].tolist())]
        require_finite(block.vectors[rows], ids, "the embedding")


def describe_hits(clips: Searchable, rows: list[int], similarities: list[float]) -> list[Hit]:
    """Fills in what is known of the found rows."""
    return [
        Hit(
            clip_id=about["id"],
            path=about["path"],
            label=about["label"] or "",
            similarity=similarity,
            start=about["start"],
            end=about["end"],
            split=about["split"] or "",
            row=row,
        )
        for row, similarity, about in zip(rows, similarities, clips.take(rows), strict=True)
    ]


def cosines(vectors: np.ndarray, query: np.ndarray) -> np.ndarray:
    """Cosine similarity of [rows, width] vectors to a [width] query, [rows] float32; 0 where either is all zeros."""
    lengths = np.sqrt(np.einsum("rw,rw->r", vectors, vectors)) * np.sqrt(query @ query)
    # Rounding may exceed 1 by a little.
    return np.clip(vectors @ query / np.maximum(lengths, np.finfo(np.float32).tiny), -1.0, 1.0)


def equals(about: pa.RecordBatch, column: str, value: str) -> np.ndarray:
    """[rows] bool, true where a text column has this value; false where it is null."""
    values = about.column(about.schema.names.index(column))
    return pc.call_function("equal", [values, pa.scalar(value)]).fill_null(False).to_numpy(zero_copy_only=False)

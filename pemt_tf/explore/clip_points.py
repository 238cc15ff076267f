"""The clips that a map shows: all of them, or an even sample of a large set."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pemt_tf.errors import PemtError
from pemt_tf.search.embedding_store import EmbeddingStore
from pemt_tf.search.embedding_table import ABOUT

SEED = 0  # of the sample; one command gives one page


@dataclass(frozen=True, eq=False)
class ClipPoints:
    """Clips with their embeddings, rows of [clips]."""

    rows: np.ndarray  # int64, rows of the embeddings
    about: list[dict]  # columns of each clip, by the names in `ABOUT`
    directions: np.ndarray  # [clips, width] float32 of length 1; zeros where an embedding has no direction
    total: int  # clips in the embeddings
    not_finite: int  # clips left out: the embedding holds NaN or infinity

    @property
    def count(self) -> int:
        """Number of clips."""
        return len(self.rows)

    @property
    def has_direction(self) -> np.ndarray:
        """[clips] bool, false for embeddings of zeros."""
        return np.any(self.directions, axis=1)


def read_points(store: EmbeddingStore, limit: int) -> ClipPoints:
    """Reads at most `limit` embeddings, block by block; of more, a random sample, the same every time."""
    wanted = _sample(store.count, limit)
    rows, about, directions, not_finite = [], [], [], 0
    for block in store.blocks(ABOUT):
        first, last = np.searchsorted(wanted, [block.first, block.first + len(block.vectors)])
        here = wanted[first:last] - block.first
        vectors = block.vectors[here].astype(np.float64)
        finite = np.isfinite(vectors).all(axis=1)
        not_finite += int((~finite).sum())
        rows.append(here[finite] + block.first)
        directions.append(_directions(vectors[finite]))
        columns = {name: block.about[name].to_pylist() for name in ABOUT}
        about += [{name: columns[name][row] for name in ABOUT} for row in here[finite].tolist()]
    if not about:
        raise PemtError(f"{store.directory}: every embedding holds NaN or infinity; train the model again, then embed")
    return ClipPoints(np.concatenate(rows), about, np.concatenate(directions), store.count, not_finite)


def _sample(count: int, limit: int) -> np.ndarray:
    if count <= limit:
        return np.arange(count)
    return np.sort(np.random.default_rng(SEED).choice(count, limit, replace=False))


def _directions(vectors: np.ndarray) -> np.ndarray:
    # Dividing by the largest number first keeps squares of very small or large ones from vanishing or overflowing.
    largest = np.abs(vectors).max(axis=1, keepdims=True, initial=0)
    scaled = np.divide(vectors, largest, out=np.zeros_like(vectors), where=largest > 0)
    length = np.linalg.norm(scaled, axis=1, keepdims=True)
    return np.divide(scaled, length, out=scaled, where=length > 0).astype(np.float32)

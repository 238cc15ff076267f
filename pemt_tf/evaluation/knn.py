"""Nearest clips by cosine similarity of embeddings; exact."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Neighbour:
    """A found clip: its row in the searched embeddings, and the cosine similarity."""

    row: int
    similarity: float


def nearest(query: np.ndarray, embeddings: np.ndarray, k: int, exclude: int | None = None) -> list[Neighbour]:
    """The k most similar embeddings, best first; ties in order of rows.

    Args:
        query: [width] float.
        embeddings: [clips, width] float.
        k: how many; fewer where there are fewer.
        exclude: a row to leave out, when the query is one of them.
    """
    similarity = normalize(embeddings) @ normalize(query[None])[0]
    if exclude is not None:
        similarity[exclude] = -np.inf
    order = np.argsort(-similarity, kind="stable")[:k]
    return [Neighbour(int(row), float(similarity[row])) for row in order if similarity[row] > -np.inf]


def normalize(embeddings: np.ndarray) -> np.ndarray:
    """Rows scaled to length 1; rows of zeros stay."""
    embeddings = np.asarray(embeddings, np.float64)
    return embeddings / np.maximum(np.linalg.norm(embeddings, axis=-1, keepdims=True), 1e-12)


def neighbour_accuracy(embeddings: np.ndarray, labels: np.ndarray) -> float:
    """Share of clips whose nearest other clip has their label; [clips, width] and [clips]."""
    similarity = normalize(embeddings) @ normalize(embeddings).T
    np.fill_diagonal(similarity, -np.inf)
    return float((labels[similarity.argmax(-1)] == labels).mean())

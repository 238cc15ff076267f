"""Nearest clips by cosine similarity of embeddings, and what their labels say; exact."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_SIMILARITIES_AT_ONCE = 1 << 23


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


def nearest_rows(queries: np.ndarray, embeddings: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k most similar embeddings of many queries, best first; memory is that of a block of queries.

    Args:
        queries: [queries, width] float.
        embeddings: [clips, width] float, at least k.
        k: how many.

    Returns:
        Rows [queries, k] int and cosine similarities [queries, k].
    """
    queries, embeddings = normalize(queries), normalize(embeddings)
    step = max(1, _SIMILARITIES_AT_ONCE // max(len(embeddings), 1))
    rows, similarities = [np.zeros((0, k), np.int64)], [np.zeros((0, k))]
    for start in range(0, len(queries), step):
        block = queries[start : start + step] @ embeddings.T
        found = np.argpartition(-block, k - 1, axis=1)[:, :k]
        found.sort(axis=1)  # so that the stable sort below leaves ties in order of rows
        order = np.argsort(-np.take_along_axis(block, found, axis=1), axis=1, kind="stable")
        rows.append(np.take_along_axis(found, order, axis=1))
        similarities.append(np.take_along_axis(block, rows[-1], axis=1))
    return np.concatenate(rows), np.concatenate(similarities)


def vote(labels: np.ndarray, similarities: np.ndarray, k: int, classes: int) -> np.ndarray:
    """The most frequent label among the k nearest; where two are as frequent, the one whose clips are more similar.

    Args:
        labels: [queries, at least k] int, of the neighbours, best first.
        similarities: of the same shape, -1 to 1.
        k: how many vote.
        classes: number of labels.

    Returns:
        [queries] int.
    """
    # Similarities add less than one vote in sum, so they only decide ties.
    weights = 1.0 + (1.0 + similarities[:, :k]) / 2.0 / (k + 1)
    scores = np.zeros((len(labels), classes))
    np.add.at(scores, (np.arange(len(labels))[:, None], labels[:, :k]), weights)
    return scores.argmax(axis=1)

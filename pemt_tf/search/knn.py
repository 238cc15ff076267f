"""Exact nearest neighbours by cosine similarity, and the vote of their labels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

_SIMILARITIES_AT_ONCE = 1 << 23


def normalize(embeddings: np.ndarray) -> np.ndarray:
    """Scales rows to length 1, in float64; rows of zeros stay."""
    embeddings = np.asarray(embeddings, np.float64)
    return embeddings / np.maximum(np.linalg.norm(embeddings, axis=-1, keepdims=True), 1e-12)


def nearest(
    queries: np.ndarray, vectors: np.ndarray, k: int, progress: Callable[[int], None] = lambda done: None
) -> tuple[np.ndarray, np.ndarray]:
    """The k vectors with the largest cosine to each query, best first; equal ones in order of rows.

    Args:
        queries: [queries, width] finite float, scaled to length 1.
        vectors: [clips, width] of the same dtype, scaled likewise.
        progress: receives the number of finished queries, after each block of them.

    Returns:
        Rows [queries, k] int64 and cosine similarities [queries, k]; fewer than k where there are fewer vectors.
    """
    step = max(1, _SIMILARITIES_AT_ONCE // max(len(vectors), 1))
    blocks = []
    for start in range(0, max(len(queries), 1), step):
        similarities = queries[start : start + step] @ vectors.T
        blocks.append(best_of(similarities, k))
        progress(start + len(similarities))
    rows, similarities = zip(*blocks, strict=True)
    return np.concatenate(rows), np.concatenate(similarities)


def best_of(similarities: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Columns and values of the k largest similarities of each row, best first; equal ones in order of columns."""
    count = similarities.shape[1]
    k = min(k, count)
    if k == 0:
        return np.zeros((len(similarities), 0), np.int64), similarities[:, :0]
    smallest = np.partition(similarities, count - k, axis=1)[:, count - k, None]
    wanted = similarities >= smallest
    if np.count_nonzero(wanted) > k * len(wanted):  # of those that equal the smallest, only the first have room
        equal = similarities == smallest
        room = k - (similarities > smallest).sum(axis=1, keepdims=True)
        wanted &= ~equal | (np.cumsum(equal, axis=1) <= room)
    columns = np.nonzero(wanted)[1].reshape(-1, k)
    values = np.take_along_axis(similarities, columns, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    return np.take_along_axis(columns, order, axis=1), np.take_along_axis(values, order, axis=1)


def vote(labels: np.ndarray, similarities: np.ndarray, k: int, classes: int) -> np.ndarray:
    """The most frequent label among the k nearest; among equally frequent ones, the one with the more similar clips.

    Args:
        labels: [queries, at least k] int, the neighbours' labels, best first.
        similarities: cosine similarities, same shape, -1 to 1.

    Returns:
        [queries] int.
    """
    # Similarities add less than one vote in sum, so they only decide ties.
    weights = 1.0 + (1.0 + similarities[:, :k]) / 2.0 / (k + 1)
    scores = np.zeros((len(labels), classes))
    np.add.at(scores, (np.arange(len(labels))[:, None], labels[:, :k]), weights)
    return scores.argmax(axis=1)

"""The nearest clips of every clip: the page looks them up and computes nothing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pemt_tf.search.knn import nearest

NOBODY = -1


def nearest_neighbours(
    directions: np.ndarray, k: int, progress: Callable[[int], None] = lambda done: None
) -> tuple[np.ndarray, np.ndarray]:
    """The k other clips, or as many as there are, with the largest cosine to each of [clips, width], best first.

    A clip whose embedding is all zeros has no neighbours and is nobody's neighbour. Returns places [clips, k'] int32,
    `NOBODY` where there is none, and cosines [clips, k'] float32, there 0.
    """
    count = len(directions)
    k = max(0, min(k, count - 1))
    places = np.full((count, k), NOBODY, np.int32)
    cosines = np.zeros((count, k), np.float32)
    usable = np.flatnonzero(directions.any(axis=1))
    rows, similarities = nearest(directions[usable], directions[usable], k + 1, progress)
    # Each clip itself goes last and is cut off, or the last one where it is not among the k + 1.
    others = np.argsort(rows == np.arange(len(usable))[:, None], axis=1, kind="stable")[:, : rows.shape[1] - 1]
    kept = others.shape[1]
    places[usable, :kept] = usable[np.take_along_axis(rows, others, axis=1)]
    cosines[usable, :kept] = np.clip(np.take_along_axis(similarities, others, axis=1), -1, 1)
    return places, cosines

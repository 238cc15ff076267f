"""The nearest clips of every clip, exact: the page looks them up and computes nothing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

BLOCK_VALUES = 16_000_000  # similarities in memory at once, float32
NOBODY = -1


def nearest_neighbours(
    directions: np.ndarray, k: int, progress: Callable[[int], None] = lambda done: None
) -> tuple[np.ndarray, np.ndarray]:
    """The k clips with the largest cosine to each clip, which is not among its own neighbours.

    Clips whose embedding is all zeros have no direction, hence no neighbours, and are nobody's.

    Args:
        directions: [clips, width] float32, of length 1, or zeros.
        k: how many; fewer where there are not so many others.
        progress: is told the number of clips that are done.

    Returns:
        Places [clips, k'] int32, best first, `NOBODY` where there is none; and cosines [clips, k'] float32, there 0.
    """
    count = len(directions)
    k = max(0, min(k, count - 1))
    places = np.full((count, k), NOBODY, np.int32)
    cosines = np.zeros((count, k), np.float32)
    has_direction = directions.any(axis=1)
    if k == 0:
        return places, cosines
    size = max(1, BLOCK_VALUES // count)
    for first in range(0, count, size):
        here = np.arange(first, min(first + size, count))
        similar = directions[here] @ directions.T
        similar[:, ~has_direction] = -np.inf
        similar[np.arange(len(here)), here] = -np.inf
        similar[~has_direction[here]] = -np.inf
        best = np.argpartition(-similar, k - 1, axis=1)[:, :k]
        best.sort(axis=1)  # ties stay in the order of the clips
        values = np.take_along_axis(similar, best, 1)
        order = np.argsort(-values, axis=1, kind="stable")
        best, values = np.take_along_axis(best, order, 1), np.take_along_axis(values, order, 1)
        there = np.isfinite(values)
        places[here] = np.where(there, best, NOBODY)
        cosines[here] = np.where(there, np.clip(values, -1, 1), 0)
        progress(int(here[-1]) + 1)
    return places, cosines

"""Geometry of embeddings on the sphere: alignment and uniformity (Wang and Isola, ICML 2020), and spread."""

from __future__ import annotations

import numpy as np

from pemt_tf.models.finite_outputs import require_finite
from pemt_tf.search.knn import normalize

_PRODUCTS_AT_ONCE = 1 << 23


def alignment(audio: np.ndarray, visual: np.ndarray) -> float:
    """Mean squared distance of the two normalized [clips, width] embeddings of a clip, 0 (equal) to 4 (opposite)."""
    return float(((_normalized(audio) - _normalized(visual)) ** 2).sum(axis=1).mean())


def uniformity(embeddings: np.ndarray) -> float:
    """ln of the mean of exp(-2 d^2) over all pairs of different clips, d the distance of normalized embeddings.

    0 if all are equal; about -4 if they are spread evenly over a sphere of many dimensions. Exact, in blocks; takes
    [clips, width] of at least two clips.
    """
    x = _normalized(embeddings)
    clips, total = len(x), 0.0
    step = max(1, _PRODUCTS_AT_ONCE // clips)
    lengths = (x**2).sum(axis=1)
    for start in range(0, clips, step):
        block = x[start : start + step]
        squared = lengths[start : start + step, None] + lengths - 2 * (block @ x.T)
        total += np.exp(-2 * np.maximum(squared, 0.0)).sum()
    total -= clips  # every clip with itself
    return float(np.log(max(total, np.finfo(float).tiny) / (clips * (clips - 1))))


def spread(embeddings: np.ndarray) -> float:
    """Standard deviation of normalized embeddings over clips, as root mean square over dimensions, times sqrt(width).

    0 if all are equal (collapse), 1 if their mean is 0: it is sqrt(1 - ||mean||^2). Takes [clips, width].
    """
    return float(np.sqrt(_normalized(embeddings).var(axis=0).sum()))


def _normalized(embeddings: np.ndarray) -> np.ndarray:
    """Normalized embeddings; raises PemtError if a number is not finite."""
    require_finite(embeddings, what="the embedding")
    return normalize(embeddings)

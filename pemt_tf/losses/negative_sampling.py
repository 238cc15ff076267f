"""Drawing negatives for masked embedding prediction: content-aware, and the paper's baselines (PRETRAINING.md 3)."""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

_EXCLUDED = -1e30


def pairwise_distances(embeddings):
    """Euclidean distances of all pairs; [instances, width] to [instances, instances] float32."""
    x = ops.cast(embeddings, "float32")
    squared = ops.sum(ops.square(x), axis=-1)
    products = ops.matmul(x, ops.transpose(x))
    return ops.sqrt(ops.maximum(squared[:, None] + squared[None, :] - 2.0 * products, 0.0))


def candidate_log_weights(embeddings, groups, method: str, band: float = 0.95):
    """Unnormalized log-probability with which every instance is drawn as a negative of every other.

    For the content-aware methods, over the candidates of each anchor: distances are scaled to [0, 1] (min-max), those
    outside the central `band` of the distances are dropped (quantiles interpolated linearly), and the rest is drawn
    in proportion to 1 - distance (`cans_similar`) or to distance (`cans_dissimilar`). Where all distances of an anchor
    are equal, its candidates are equally likely.

    Args:
        embeddings: [instances, width], CNN embeddings of all segments of the batch.
        groups: [instances] integers, the clip of each instance.
        method: one of `pemt_tf.config.NEGATIVES`.
        band: central share of the distances that is kept.

    Returns:
        [anchors, candidates] float32, `-1e30` where a candidate must not be drawn (the anchor itself among them).
    """
    count = embeddings.shape[0]
    candidates = ~np.eye(count, dtype=bool)
    if method in ("mini_batch", "current_sequence"):
        allowed = ops.convert_to_tensor(candidates)
        if method == "current_sequence":
            allowed = ops.logical_and(allowed, ops.equal(groups[:, None], groups[None, :]))
        return ops.where(allowed, 0.0, _EXCLUDED)
    distances = ops.stop_gradient(pairwise_distances(embeddings))
    ordered = ops.sort(ops.where(candidates, distances, np.float32(np.inf)), axis=-1)
    last = count - 2  # index of the largest distance; the anchor itself stands behind it
    low, high = (_quantile(ordered, q, last) for q in ((1.0 - band) / 2.0, (1.0 + band) / 2.0))
    inside = ops.logical_and(distances >= low, distances <= high)
    smallest, largest = ordered[:, :1], ordered[:, last : last + 1]
    spread = largest - smallest
    scaled = (distances - smallest) / ops.maximum(spread, 1e-30)
    weight = 1.0 - scaled if method == "cans_similar" else scaled
    weight = ops.where(spread > 0.0, weight, 1.0)
    allowed = ops.logical_and(ops.logical_and(inside, weight > 0.0), candidates)
    return ops.where(allowed, ops.log(ops.maximum(weight, 1e-30)), _EXCLUDED)


def _quantile(ordered, q: float, last: int):
    """Quantile of the entries 0 to `last` of sorted rows, interpolated linearly; [rows, 1]."""
    position = q * last
    below = int(np.floor(position))
    above = min(below + 1, last)
    share = position - below
    start = ordered[:, below : below + 1]
    return start + (ordered[:, above : above + 1] - start) * share  # exact where both are equal


def draw_negatives(log_weights, count: int, seed):
    """Draws without replacement in proportion to the weights, by Gumbel-top-k.

    Args:
        log_weights: [anchors, candidates] float32, from `candidate_log_weights`.
        count: negatives wanted per anchor; fewer where fewer remain.
        seed: `keras.random.SeedGenerator` or int.

    Returns:
        indices [anchors, k] int32 and valid [anchors, k] bool, k = min(count, candidates - 1). Entries that are not
        valid must not be used: that anchor had fewer candidates.
    """
    k = min(count, log_weights.shape[-1] - 1)
    uniform = keras.random.uniform(ops.shape(log_weights), 1e-7, 1.0, dtype="float32", seed=seed)
    keys = log_weights - ops.log(-ops.log(uniform))
    keys, indices = ops.top_k(keys, k)
    return ops.cast(indices, "int32"), keys > _EXCLUDED / 2

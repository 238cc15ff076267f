"""Negative sampling for masked embedding prediction: content-aware, and the paper's baselines.

See docs/pretraining_objectives.md section 3.
"""

from __future__ import annotations

from typing import Annotated

import keras
import numpy as np
from keras import KerasTensor, ops

from pemt_tf.config.allowed_values import Count, PositiveShare, one_of
from pemt_tf.config.argument_checks import check_arguments
from pemt_tf.config.training import NEGATIVES
from pemt_tf.layers.replicas import own_rows, replica_count

_Negatives = Annotated[str, one_of(NEGATIVES)]
Seed = keras.random.SeedGenerator | int
_EXCLUDED = -1e30
_FAR = np.finfo(np.float32).max  # stands behind every distance in sorted rows; finite, so differences of it are numbers


def pairwise_distances(embeddings: KerasTensor, anchors: KerasTensor | None = None) -> KerasTensor:
    """Euclidean distances of all pairs.

    Args:
        embeddings: [instances, width].
        anchors: [anchors] int32, which instances to measure from; None: from all.

    Returns:
        [anchors, instances] float32.
    """
    x = ops.cast(embeddings, "float32")
    y = x if anchors is None else ops.take(x, anchors, axis=0)
    products = ops.matmul(y, ops.transpose(x))
    return ops.sqrt(ops.maximum(_squared(y)[:, None] + _squared(x)[None, :] - 2.0 * products, 0.0))


def _squared(x: KerasTensor) -> KerasTensor:
    return ops.sum(ops.square(x), axis=-1)


@check_arguments
def candidate_log_weights(
    embeddings: KerasTensor,
    groups: KerasTensor,
    method: _Negatives,
    band: PositiveShare = 0.95,
    present: KerasTensor | None = None,
    anchors: KerasTensor | None = None,
) -> KerasTensor:
    """Unnormalized log-probability with which every instance is drawn as a negative of every other.

    For the content-aware methods, over the candidates of each anchor: distances are scaled to [0, 1] (min-max), those
    outside the central `band` of the distances are dropped (quantiles interpolated linearly), and the rest is drawn
    in proportion to 1 - distance (`cans_similar`) or to distance (`cans_dissimilar`). Where all distances of an anchor
    are equal, its candidates are equally likely.

    Args:
        embeddings: [instances, width], CNN embeddings of all segments of the batch.
        groups: [instances] integers, the clip of each instance.
        method: one of `pemt_tf.config.training.NEGATIVES`.
        band: central share of the distances that is kept.
        present: [instances], 1 for segments that are there; the others are no candidates. None if all are.
        anchors: [anchors] int32, the instances that negatives are for; None: all of them.

    Returns:
        [anchors, instances] float32, `-1e30` where a candidate must not be drawn (the anchor itself among them).
    """
    count = embeddings.shape[0]
    if anchors is None:
        candidates = ops.convert_to_tensor(~np.eye(count, dtype=bool))
        of_anchors = groups
    else:
        candidates = ops.not_equal(anchors[:, None], ops.arange(count, dtype="int32")[None, :])
        of_anchors = ops.take(groups, anchors, axis=0)
    if present is not None:
        candidates = ops.logical_and(candidates, ops.cast(present, "bool")[None, :])
    if method == "mini_batch":
        return ops.where(candidates, 0.0, _EXCLUDED)
    if method == "current_sequence":
        same = ops.equal(of_anchors[:, None], groups[None, :])
        return ops.where(ops.logical_and(candidates, same), 0.0, _EXCLUDED)
    counts = None if present is None else ops.sum(ops.cast(candidates, "int32"), axis=-1, keepdims=True)
    distances = pairwise_distances(ops.stop_gradient(embeddings), anchors)
    return _content_aware(distances, candidates, counts, method, band)


def _content_aware(
    distances: KerasTensor, candidates: KerasTensor, counts: KerasTensor | None, method: str, band: float
) -> KerasTensor:
    """Log-weights by distance; candidates bool like distances, counts as for `_quantile`."""
    ordered = ops.sort(ops.where(candidates, distances, _FAR), axis=-1)
    shares = (0.0, (1.0 - band) / 2.0, (1.0 + band) / 2.0, 1.0)
    smallest, low, high, largest = (_quantile(ordered, q, counts) for q in shares)
    inside = ops.logical_and(distances >= low, distances <= high)
    spread = largest - smallest
    scaled = (distances - smallest) / ops.maximum(spread, 1e-30)
    weight = 1.0 - scaled if method == "cans_similar" else scaled
    weight = ops.where(spread > 0.0, weight, 1.0)
    allowed = ops.logical_and(ops.logical_and(inside, weight > 0.0), candidates)
    return ops.where(allowed, ops.log(ops.maximum(weight, 1e-30)), _EXCLUDED)


def _quantile(ordered: KerasTensor, q: float, counts: KerasTensor | None = None) -> KerasTensor:
    """Quantile of the first entries of sorted rows, interpolated linearly.

    Args:
        ordered: [rows, length] float32, ascending.
        q: 0 to 1.
        counts: [rows, 1] int32, 0 to length - 1, how many entries of each row to look at; None looks at all but the
            last one (the anchor itself).

    Returns:
        [rows, 1] float32; the first entry of rows with count 0.
    """
    # Positions for every count there can be, in float64: a product in float32 could land beside a whole number.
    last = np.maximum(np.arange(ordered.shape[-1]) - 1, 0)
    position = q * last
    below = np.floor(position).astype(np.int32)
    above = np.minimum(below + 1, last).astype(np.int32)
    share = (position - below).astype(np.float32)
    if counts is None:
        below, above, share = below[-1], above[-1], share[-1]
    else:
        below, above, share = (ops.take(table, counts, axis=0) for table in (below, above, share))
    start = _entry(ordered, below)
    if q in (0.0, 1.0):
        return start
    return start + (_entry(ordered, above) - start) * share  # exact where both are equal


def _entry(ordered: KerasTensor, index: KerasTensor) -> KerasTensor:
    """One entry of every row, [rows, 1]; index is an integer, the same for all rows, or [rows, 1] int32."""
    if isinstance(index, np.integer):
        return ordered[:, index : index + 1]
    return ops.take_along_axis(ordered, index, axis=-1)


def can_be_drawn(log_weights: KerasTensor) -> KerasTensor:
    """[anchors, candidates] bool: which log-weights of `candidate_log_weights` do not exclude the candidate."""
    return log_weights > _EXCLUDED / 2


@check_arguments
def draw_negatives(log_weights: KerasTensor, count: Count, seed: Seed) -> tuple[KerasTensor, KerasTensor]:
    """Draws without replacement in proportion to the weights, by Gumbel-top-k.

    The random numbers are those of all anchors of the global batch, of which a replica takes its rows.

    Args:
        log_weights: [anchors, candidates] float32, from `candidate_log_weights`.
        count: negatives wanted per anchor; fewer where fewer remain.
        seed: `keras.random.SeedGenerator` or int.

    Returns:
        indices [anchors, k] int32 and valid [anchors, k] bool, k = min(count, candidates - 1). Entries that are not
        valid must not be used: that anchor had fewer candidates.
    """
    k = min(count, log_weights.shape[-1] - 1)
    anchors, candidates = log_weights.shape
    uniform = keras.random.uniform((anchors * replica_count(), candidates), 1e-7, 1.0, dtype="float32", seed=seed)
    keys = log_weights - ops.log(-ops.log(own_rows(uniform)))
    keys, indices = ops.top_k(keys, k)
    return ops.cast(indices, "int32"), keys > _EXCLUDED / 2

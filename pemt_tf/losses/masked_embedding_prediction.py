"""Masked embedding prediction: an InfoNCE loss on masked tokens.

Paper section 3.3; docs/pretraining_objectives.md section 2.
"""

from __future__ import annotations

import math
from typing import Annotated

import keras
from keras import KerasTensor, ops

from pemt_tf.config.allowed_values import Count, PositiveShare, one_of
from pemt_tf.config.argument_checks import check_arguments
from pemt_tf.config.training import SIMILARITIES
from pemt_tf.layers.replicas import own_rows, replica_count
from pemt_tf.losses.masked_statistics import counted_rows

FIRST_SCALE, LARGEST_SCALE = 10.0, 100.0  # of cosines
_SMALLEST_VARIANCE = 1e-6  # of a coordinate of the targets, whose size is about 1
_Similarity = Annotated[str, one_of(SIMILARITIES)]
Seed = keras.random.SeedGenerator | int


@check_arguments
def draw_mask(
    batch: Count, segments: Count, rate: PositiveShare, seed: Seed, present: KerasTensor | None = None
) -> KerasTensor:
    """Chooses masked positions: each present one with probability `rate`, and at least one per row that has any.

    Rate, minimum and independence of the streams are ours. The draws are those of the global batch, of which a replica
    takes its rows.

    Args:
        batch, segments: shape of the mask.
        rate: probability, above 0 and at most 1.
        seed: `keras.random.SeedGenerator` or int.
        present: [batch, segments], 1 for segments that are there; None if all are.

    Returns:
        [batch, segments] float32, 1 at masked positions.
    """
    draws = own_rows(keras.random.uniform((batch * replica_count(), segments), dtype="float32", seed=seed))
    if present is not None:
        present = ops.cast(present, "bool")
        draws = ops.where(present, draws, 2.0)  # above every draw and every rate
    chosen = ops.logical_or(draws < rate, draws == ops.min(draws, axis=-1, keepdims=True))
    if present is not None:
        chosen = ops.logical_and(chosen, present)  # a row without any has its smallest draw at an absent segment
    return ops.cast(chosen, "float32")


def standardize(targets: KerasTensor, present: KerasTensor | None = None) -> KerasTensor:
    """Targets with mean 0 and variance 1 in every coordinate, over those that are there (ours).

    The tokens of a network that has learned little are nearly the same for all clips: one large vector that all share,
    and small differences. Cosines see the former; this leaves the latter. It also keeps the loss from being lowered by
    making all targets alike.

    Args:
        targets: [candidates, hidden], all candidates of a group.
        present: [candidates], 1 for those that are there; None if all are.

    Returns:
        [candidates, hidden] float32.
    """
    x = ops.cast(targets, "float32")
    weights = ops.ones_like(x[:, 0]) if present is None else ops.cast(present, "float32")
    weights = (weights / ops.maximum(ops.sum(weights), 1.0))[:, None]
    centered = x - ops.sum(x * weights, axis=0)
    variance = ops.sum(ops.square(centered) * weights, axis=0)
    return centered * ops.rsqrt(variance + _SMALLEST_VARIANCE)


@keras.saving.register_keras_serializable("pemt_tf")
class CompatibilityNetwork(keras.layers.Layer):
    """log I(x_j, o_t) for all pairs of outputs o and targets x.

    FFN is two dense layers with GELU between; its inner width is that of the tokens (ours). W has no bias. One network
    per modality and Transformer (ours).

    Args:
        hidden: width of outputs and targets.
        projection: width of the space in which they are compared.
        similarity: `product`, the paper's FFN(o_t) . W x_j; or `cosine` (ours), k cos(FFN(o_t), W x_j) with a learned
            k = exp(`log_scale`) that starts at 10 and is at most 100.
    """

    @check_arguments
    def __init__(self, hidden: Count, projection: Count = 256, similarity: _Similarity = "product", **kwargs):
        super().__init__(**kwargs)
        self.hidden, self.projection, self.similarity = hidden, projection, similarity

        def dense(units, name, **more):
            # Large random products are worse than a uniform guess, and the quickest way to reduce them is to make all
            # embeddings equal: training collapses. The model's own N(0, 0.01) keeps the first ones near 0, at the
            # price of gradients that are products of the other small factors. The size of a cosine does not depend
            # on that of the weights, so there they keep the variance (Glorot).
            normal = keras.initializers.RandomNormal(stddev=0.01) if similarity == "product" else "glorot_uniform"
            return keras.layers.Dense(units, kernel_initializer=normal, dtype=self.dtype_policy, name=name, **more)

        self.inner = dense(hidden, "inner")
        self.outer = dense(projection, "outer")
        self.target = dense(projection, "target", use_bias=False)

    def build(self, input_shape: tuple | None = None) -> None:
        for layer in (self.inner, self.outer, self.target):
            layer.build((None, self.hidden))
        if self.similarity == "cosine":
            first = keras.initializers.Constant(math.log(FIRST_SCALE))
            self.log_scale = self.add_weight(name="log_scale", shape=(), initializer=first, autocast=False)
        self.built = True

    def call(self, outputs, targets: KerasTensor) -> KerasTensor:
        """[anchors, hidden] and [candidates, hidden] to logits [anchors, candidates] float32."""
        predicted = self.outer(ops.gelu(self.inner(outputs), approximate=False))
        compared = self.target(targets)
        if self.similarity == "product":
            return ops.cast(ops.matmul(predicted, ops.transpose(compared)), "float32")
        predicted, compared = (ops.normalize(ops.cast(x, "float32"), axis=-1) for x in (predicted, compared))
        scale = ops.minimum(ops.exp(self.log_scale), LARGEST_SCALE)
        return scale * ops.matmul(predicted, ops.transpose(compared))

    def get_config(self) -> dict:
        own = {"hidden": self.hidden, "projection": self.projection, "similarity": self.similarity}
        return {**super().get_config(), **own}


def logit_std(logits: KerasTensor, candidates: KerasTensor, weights: KerasTensor) -> KerasTensor:
    """How differently an anchor's candidates are judged: 0 at a uniform guess; scalar float32 without gradient.

    Args:
        logits: [anchors, candidates] float32.
        candidates: [anchors, candidates] bool, what can be drawn for each anchor.
        weights: [anchors] float32, 1 for masked anchors, 0 for the others.

    Returns:
        The standard deviation over an anchor's candidates, mean over masked anchors; with replicas, this one's share.
    """
    logits, there = ops.stop_gradient(logits), ops.cast(candidates, "float32")
    count = ops.maximum(ops.sum(there, axis=-1, keepdims=True), 1.0)
    centered = logits - ops.sum(logits * there, axis=-1, keepdims=True) / count
    variance = ops.sum(ops.square(centered) * there / count, axis=-1)
    return ops.sum(ops.sqrt(variance) * weights) / counted_rows(weights)


def info_nce(
    logits: KerasTensor,
    negatives: KerasTensor,
    valid: KerasTensor,
    weights: KerasTensor,
    positives: KerasTensor | None = None,
) -> tuple[KerasTensor, KerasTensor]:
    """-mean over masked anchors of log [I(x_t, o_t) / (I(x_t, o_t) + sum over negatives I(x_j, o_t))].

    Args:
        logits: [anchors, candidates] float32.
        negatives: [anchors, k] int32, candidates drawn as negatives.
        valid: [anchors, k] bool, which of them count.
        weights: [anchors] float32, 1 for masked anchors, 0 for the others.
        positives: [anchors] int32, the candidate that is the anchor's positive; None: anchor t's is candidate t.

    Returns:
        The loss and the share of masked anchors whose positive beats every negative, both scalar float32. With replicas
        they are this one's share: their means over replicas are those over the masked anchors of the global batch.
    """
    if positives is None:
        positive = ops.diagonal(logits)
    else:
        positive = ops.take_along_axis(logits, positives[:, None], axis=-1)[:, 0]
    drawn = ops.where(valid, ops.take_along_axis(logits, negatives, axis=-1), -1e30)
    everything = ops.logsumexp(ops.concatenate([positive[:, None], drawn], axis=-1), axis=-1)
    total = counted_rows(weights)
    correct = ops.cast(positive > ops.max(drawn, axis=-1), "float32")
    return ops.sum((everything - positive) * weights) / total, ops.sum(correct * weights) / total

"""Masked embedding prediction: an InfoNCE loss on masked tokens.

Paper section 3.3; docs/pretraining_objectives.md section 2.
"""

from __future__ import annotations

import keras
from keras import ops

from pemt_tf.config.allowed_values import Count, PositiveShare
from pemt_tf.config.argument_checks import check_arguments
from pemt_tf.layers.replicas import own_rows, replica_count
from pemt_tf.losses.masked_statistics import counted_rows


@check_arguments
def draw_mask(batch: Count, segments: Count, rate: PositiveShare, seed, present=None):
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


@keras.saving.register_keras_serializable("pemt_tf")
class CompatibilityNetwork(keras.layers.Layer):
    """log I(x_j, o_t) = FFN(o_t) . W x_j, for all pairs of outputs o and targets x.

    FFN is two dense layers with GELU between; its inner width is that of the tokens (ours). W has no bias. One network
    per modality and Transformer (ours).

    Args:
        hidden: width of outputs and targets.
        projection: width in which they are compared.
    """

    @check_arguments
    def __init__(self, hidden: Count, projection: Count = 256, **kwargs):
        super().__init__(**kwargs)
        self.hidden, self.projection = hidden, projection

        def dense(units, name, **more):
            # The model's own N(0, 0.01) keeps the first logits near 0. Large random logits are worse than a uniform
            # guess, and the quickest way to fewer of them is to make all embeddings alike: training collapses.
            normal = keras.initializers.RandomNormal(stddev=0.01)
            return keras.layers.Dense(units, kernel_initializer=normal, dtype=self.dtype_policy, name=name, **more)

        self.inner = dense(hidden, "inner")
        self.outer = dense(projection, "outer")
        self.target = dense(projection, "target", use_bias=False)

    def build(self, input_shape=None):
        for layer in (self.inner, self.outer, self.target):
            layer.build((None, self.hidden))
        self.built = True

    def call(self, outputs, targets):
        """[anchors, hidden] and [candidates, hidden] to logits [anchors, candidates] float32."""
        predicted = self.outer(ops.gelu(self.inner(outputs), approximate=False))
        return ops.cast(ops.matmul(predicted, ops.transpose(self.target(targets))), "float32")

    def get_config(self):
        return {**super().get_config(), "hidden": self.hidden, "projection": self.projection}


def info_nce(logits, negatives, valid, weights, positives=None):
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

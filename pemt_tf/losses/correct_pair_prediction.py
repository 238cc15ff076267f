"""Correct pair prediction: do these frames and this audio belong together?

Paper section 3.3; docs/pretraining_objectives.md section 4.
"""

from __future__ import annotations

import keras
from keras import KerasTensor, ops

from pemt_tf.config.allowed_values import Count
from pemt_tf.config.argument_checks import check_arguments
from pemt_tf.errors import ArgumentError
from pemt_tf.layers.replicas import own_rows, replica_count
from pemt_tf.losses.masked_statistics import masked_mean

_LARGEST_DRAW = 2**31 - 1

Seed = keras.random.SeedGenerator | int


@check_arguments
def draw_derangement(batch: Count, seed: Seed, groups: Count = 1) -> KerasTensor:
    """A random permutation without fixed point: a uniformly drawn cycle through the whole batch (ours).

    Args:
        batch: number of clips, 2 or more a group.
        seed: `keras.random.SeedGenerator` or int.
        groups: number of equal groups of neighbours, each with a cycle of its own.

    Returns:
        [batch] int32.
    """
    if batch % groups or batch // groups < 2:
        raise ArgumentError(
            f"draw_derangement: groups is {groups}; allowed: equal groups of 2 or more of {batch} clips"
        )
    draws = keras.random.uniform((batch,), dtype="float32", seed=seed)
    order = ops.argsort(ops.reshape(draws, (groups, -1)), axis=-1)
    successor = ops.take_along_axis(ops.roll(order, -1, axis=-1), ops.argsort(order, axis=-1), axis=-1)
    first = ops.arange(groups, dtype="int32")[:, None] * (batch // groups)
    return ops.reshape(ops.cast(successor, "int32") + first, (-1,))


@check_arguments
def draw_positions(batch: Count, segments: Count, seed: Seed, present: KerasTensor | None = None) -> KerasTensor:
    """One random segment per clip, all present ones equally likely.

    The draws are those of the global batch, of which a replica takes its rows.

    Args:
        batch, segments: number of clips, and of segments per clip.
        seed: `keras.random.SeedGenerator` or int.
        present: [batch, segments], 1 for segments that are there; None if all are.

    Returns:
        [batch] int32; 0 for a clip without any segment.
    """
    if present is None:
        return own_rows(keras.random.randint((batch * replica_count(),), 0, segments, seed=seed))
    # A draw from a range so wide that its remainder by any number of segments is as good as uniform. The range is a
    # multiple of `segments`, which leaves TensorFlow's remainder of a full clip at what the short range gives.
    draws = keras.random.randint((batch * replica_count(),), 0, _LARGEST_DRAW // segments * segments, seed=seed)
    draws = own_rows(draws)
    there = ops.cast(present, "int32")
    rank = draws % ops.maximum(ops.sum(there, axis=1), 1)
    chosen = ops.logical_and(ops.cumsum(there, axis=1) - 1 == rank[:, None], there > 0)
    return ops.cast(ops.argmax(ops.cast(chosen, "int32"), axis=1), "int32")


def complete_pairs(masks: dict) -> KerasTensor:
    """Which pairs have at least one segment on every side.

    Args:
        masks: at least one modality to [batch, segments], 1 for segments that are there; a missing one has all.

    Returns:
        [batch] float32, 1 for pairs that count.
    """
    sides = [ops.max(ops.cast(mask, "float32"), axis=1) for mask in masks.values()]
    return sides[0] if len(sides) == 1 else sides[0] * sides[1]


@keras.saving.register_keras_serializable("pemt_tf")
class PairClassifier(keras.layers.Layer):
    """Two dense layers on [visual ; audio] embeddings, one logit: high for a correct pair.

    The same network judges the pair of summaries and the pair at one random position per modality (ours).

    Args:
        hidden: width of each embedding.
    """

    @check_arguments
    def __init__(self, hidden: Count, **kwargs):
        super().__init__(**kwargs)
        self.hidden = hidden
        self.inner = keras.layers.Dense(hidden, dtype=self.dtype_policy, name="inner")
        # The model's own N(0, 0.01) keeps the first logits near 0. Random ones of size 1 are worse than a guess, and
        # their gradient is far stronger than that of masked embedding prediction: it makes all tokens alike.
        normal = keras.initializers.RandomNormal(stddev=0.01)
        self.outer = keras.layers.Dense(1, kernel_initializer=normal, dtype=self.dtype_policy, name="outer")

    def build(self, input_shape: tuple | None = None) -> None:
        self.inner.build((None, 2 * self.hidden))
        self.outer.build((None, self.hidden))
        self.built = True

    def call(self, visual: KerasTensor, audio: KerasTensor) -> KerasTensor:
        """Two [..., hidden] embeddings to logits [...] float32."""
        inner = ops.gelu(self.inner(ops.concatenate([visual, audio], axis=-1)), approximate=False)
        return ops.cast(self.outer(inner)[..., 0], "float32")

    def get_config(self) -> dict:
        return {**super().get_config(), "hidden": self.hidden}


def summary_and_position(context: KerasTensor, positions: KerasTensor) -> KerasTensor:
    """The summary and one other token of every sequence.

    Args:
        context: [batch, 1 + segments, hidden], summary first.
        positions: [batch] int32, segments from 0.

    Returns:
        [batch, 2, hidden].
    """
    chosen = ops.take_along_axis(context, positions[:, None, None] + 1, axis=1)
    return ops.concatenate([context[:, :1], chosen], axis=1)


def pair_loss(
    logits: KerasTensor, targets: KerasTensor, counted: KerasTensor | None = None
) -> tuple[KerasTensor, KerasTensor]:
    """Binary cross-entropy and accuracy, means over the pairs that count, 0 if none does.

    Args:
        logits: [pairs, ...] float32.
        targets: [pairs, ...] float32, 1 for correct pairs, 0 for the others.
        counted: [pairs] float32, 1 for pairs that count, 0 for the others; None counts all.

    Returns:
        Loss and accuracy, both scalar float32.
    """
    losses = ops.maximum(logits, 0.0) - logits * targets + ops.log1p(ops.exp(-ops.abs(logits)))
    correct = ops.cast(ops.equal(logits > 0.0, targets > 0.5), "float32")
    return masked_mean(losses, counted), masked_mean(correct, counted)

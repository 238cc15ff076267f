"""Dropout whose masks differ between the replicas of data parallelism."""

from __future__ import annotations

import keras
from keras import KerasTensor, ops

from pemt_tf.config.allowed_values import Probability, Seed
from pemt_tf.config.argument_checks import check_arguments
from pemt_tf.layers.replicas import replica_count, replica_index

_STRIDE = 0x61C88647  # far from any small multiple of itself modulo 2^31 - 2, which Keras takes seeds by


class ReplicaSeedGenerator(keras.random.SeedGenerator):
    """A seed generator whose seeds depend on the replica, while its state, a variable, is the same in all of them.

    Replicas keep equal variables, so that a checkpoint of one is a checkpoint of all; `keras.random.SeedGenerator`
    therefore hands all of them the same seed. Replica 0 and a single device get the seeds that Keras would give them.
    """

    def next(self, ordered: bool = True):
        """The next seed; called by `keras.random`."""
        seed = super().next(ordered)
        if replica_count() == 1:
            return seed
        return seed + ops.cast(ops.stack([replica_index(), 0]), seed.dtype) * _STRIDE


@keras.saving.register_keras_serializable("pemt_tf")
class Dropout(keras.layers.Layer):
    """`keras.layers.Dropout`, with other masks on every replica: all masks of a global batch are independent.

    Args:
        rate: share of the entries that become 0, from 0 to below 1; the others are divided by 1 - rate.
        seed: int, or None for one that follows from `keras.utils.set_random_seed`.
    """

    @check_arguments
    def __init__(self, rate: Probability, seed: Seed | None = None, **kwargs):
        super().__init__(**kwargs)
        self.rate, self.seed = rate, seed
        if rate > 0:
            self.seed_generator = ReplicaSeedGenerator(seed)
        self.built = True

    def call(self, inputs, training: bool = False) -> KerasTensor:
        if training and self.rate > 0:
            return keras.random.dropout(inputs, self.rate, seed=self.seed_generator)
        return inputs

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return input_shape

    def get_config(self) -> dict:
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}

"""Batch normalization with the reference's running statistics (REFERENCE.md section 8)."""

from __future__ import annotations

import keras
from keras import ops


@keras.saving.register_keras_serializable("pemt_tf")
class BatchNormalization(keras.layers.BatchNormalization):
    """Normalizes by the biased batch variance but keeps the UNBIASED one as running variance, as PyTorch does.

    Keras stores the biased variance. Statistics are those of the global batch under a distribution strategy.
    """

    def __init__(self, momentum: float = 0.9, epsilon: float = 1e-5, **kwargs):
        kwargs.pop("synchronized", None)
        kwargs.pop("axis", None)
        super().__init__(momentum=momentum, epsilon=epsilon, synchronized=True, **kwargs)

    def call(self, x, training=None, mask=None):
        inputs = ops.cast(x, "float32")
        if training and self.trainable:
            mean, variance = ops.moments(inputs, axes=list(range(len(x.shape) - 1)), synchronized=True)
            count = ops.cast(ops.size(inputs) // x.shape[-1] * _replicas(), "float32")
            unbiased = variance * count / ops.maximum(count - 1.0, 1.0)
            self._keep(self.moving_mean, mean)
            self._keep(self.moving_variance, unbiased)
        else:
            mean, variance = self.moving_mean, self.moving_variance
        scale = ops.cast(self.gamma, "float32") * ops.rsqrt(ops.cast(variance, "float32") + self.epsilon)
        shift = ops.cast(self.beta, "float32") - ops.cast(mean, "float32") * scale
        return ops.cast(inputs * scale + shift, self.compute_dtype)

    def _keep(self, running, value):
        running.assign(running * self.momentum + value * (1.0 - self.momentum))


def _replicas() -> int:
    """Replicas whose batches make up the global batch."""
    if keras.backend.backend() != "tensorflow":
        return 1
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    return context.num_replicas_in_sync if context else 1

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
        kwargs.pop("synchronized", None)  # always, and by our own hand
        kwargs.pop("axis", None)
        super().__init__(momentum=momentum, epsilon=epsilon, **kwargs)

    def call(self, x, training=None, mask=None):
        inputs = ops.cast(x, "float32")
        gain, offset = ops.cast(self.gamma, "float32"), ops.cast(self.beta, "float32")
        if training and self.trainable:
            mean, variance = self._batch_statistics(inputs)
            outputs = (inputs - mean) * (gain * ops.rsqrt(variance + self.epsilon)) + offset
        else:
            scale = gain * ops.rsqrt(ops.cast(self.moving_variance, "float32") + self.epsilon)
            outputs = inputs * scale + (offset - ops.cast(self.moving_mean, "float32") * scale)
        return ops.cast(outputs, self.compute_dtype)

    def _batch_statistics(self, inputs):
        """Mean and biased variance of the global batch, [channels] float32; updates the running ones.

        The variance is that of centred values. `ops.moments` subtracts two large numbers instead, which costs two to
        three digits of the gradients of a 50-layer network.
        """
        mean = _channel_mean(inputs)
        variance = _channel_mean(ops.square(inputs - mean))
        mean, variance, replicas = _over_replicas(mean, variance)
        count = ops.cast(ops.size(inputs) // inputs.shape[-1] * replicas, "float32")
        self._keep(self.moving_mean, mean)
        self._keep(self.moving_variance, variance * count / ops.maximum(count - 1.0, 1.0))
        return mean, variance

    def _keep(self, running, value):
        running.assign(running * self.momentum + value * (1.0 - self.momentum))


def _channel_mean(x):
    """Mean over all axes but the last, one after the other: a single long float32 sum would lose a digit and more."""
    while len(x.shape) > 1:
        x = ops.mean(x, axis=-2)
    return x


def _over_replicas(mean, variance):
    """Statistics of the global batch from those of equal shares of it, and the number of shares."""
    if keras.backend.backend() != "tensorflow":
        return mean, variance, 1
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return mean, variance, 1
    total = context.all_reduce(tf.distribute.ReduceOp.MEAN, mean)
    spread = context.all_reduce(tf.distribute.ReduceOp.MEAN, variance + tf.square(mean - total))
    return total, spread, context.num_replicas_in_sync

"""Batch normalization with the reference's running statistics (docs/reference_model.md section 8)."""

from __future__ import annotations

import math

import keras
from keras import ops

from pemt_tf.config.allowed_values import Positive, Probability
from pemt_tf.config.argument_checks import check_arguments
from pemt_tf.layers.replicas import mean_over_replicas, replica_count


@keras.saving.register_keras_serializable("pemt_tf")
class BatchNormalization(keras.layers.BatchNormalization):
    """Normalizes by the biased batch variance but keeps the UNBIASED one as running variance, as PyTorch does.

    Keras stores the biased variance. Statistics are those of the global batch under a distribution strategy.
    """

    @check_arguments
    def __init__(self, momentum: Probability = 0.9, epsilon: Positive = 1e-5, **kwargs):
        kwargs.pop("synchronized", None)  # always, and by our own hand
        kwargs.pop("axis", None)
        super().__init__(momentum=momentum, epsilon=epsilon, **kwargs)

    def call(self, x, training=None, mask=None):
        outputs, statistics = self.normalize(x, training)
        self.keep(statistics)
        return outputs

    def normalize(self, x, training=None):
        """The outputs, and the batch's mean and unbiased variance for `keep` (None where the running ones are used).

        Without side effect: may be computed again in the backward pass.
        """
        mean, variance, statistics = self.moving_mean, self.moving_variance, None
        of_batch = bool(training and self.trainable)
        if of_batch:
            mean, variance, count = _batch_statistics(ops.cast(x, "float32"))
            unbiased = variance * count / ops.maximum(count - 1.0, 1.0)
            statistics = (ops.stop_gradient(mean), ops.stop_gradient(unbiased))
        if _has_fused_kernels():
            return _fused(x, self.gamma, self.beta, mean, variance, self.epsilon, of_batch), statistics
        scale = self.gamma * ops.rsqrt(variance + self.epsilon)
        outputs = (ops.cast(x, "float32") - mean) * scale + self.beta
        return ops.cast(outputs, self.compute_dtype), statistics

    def keep(self, statistics) -> None:
        """Moves the running statistics towards those of a batch."""
        if statistics is not None:
            for running, value in zip((self.moving_mean, self.moving_variance), statistics, strict=True):
                running.assign(running * self.momentum + value * (1.0 - self.momentum))


def _batch_statistics(inputs):
    """Mean and biased variance of the global batch, [channels] float32, and of how many values, float32.

    The variance is that of centred values. `ops.moments` subtracts two large numbers instead, which costs two to three
    digits of the gradients of a 50-layer network.
    """
    mean = _channel_mean(inputs)
    variance = _channel_mean(ops.square(inputs - mean))
    mean, variance = _over_replicas(mean, variance)
    return mean, variance, ops.cast(ops.size(inputs) // inputs.shape[-1] * replica_count(), "float32")


def _channel_mean(x):
    """Mean over all axes but the last, in steps: a single long float32 sum would lose a digit and more.

    The first step is a product with a row of equal weights, the fastest way through memory.
    """
    shape = ops.shape(x)
    kept = shape[2:] if len(shape) > 2 else shape[1:]
    rows = ops.reshape(x, (-1, math.prod(kept)))
    weights = ops.ones((1, ops.shape(rows)[0]), x.dtype) / ops.cast(ops.shape(rows)[0], x.dtype)
    x = ops.reshape(ops.matmul(weights, rows), kept)
    while len(x.shape) > 1:
        x = ops.mean(x, axis=-2)
    return x


def _over_replicas(mean, variance):
    """Statistics of the global batch from those of equal shares of it."""
    if replica_count() == 1:
        return mean, variance
    total = mean_over_replicas(mean)
    return total, mean_over_replicas(variance + ops.square(mean - total))


def _has_fused_kernels() -> bool:
    """Whether `_fused` works here: TensorFlow's kernels on CPU take any statistics, those on GPU only their own."""
    if keras.backend.backend() != "tensorflow" or replica_count() > 1:
        return False
    import tensorflow as tf

    return not tf.config.list_logical_devices("GPU")


def _fused(x, gain, offset, mean, variance, epsilon: float, of_batch: bool):
    """Normalizes by TensorFlow's own kernels, forwards and backwards: two to three times faster than by `keras.ops`.

    Only the statistics are ours: the kernels sum a whole batch in one float32, which leaves five digits of a variance.

    Args:
        x: [batch, ..., channels] in any float type.
        gain, offset, mean, variance: [channels] float32.
        epsilon: added to the variance.
        of_batch: whether the statistics are those of `x` and so have gradients too.
    """
    import tensorflow as tf

    def as_image(values):
        return tf.reshape(values, (1, 1, -1, values.shape[-1]))

    @tf.custom_gradient
    def normalize(x, gain, offset):
        outputs, *_ = tf.raw_ops.FusedBatchNormV3(
            x=as_image(x), scale=gain, offset=offset, mean=mean, variance=variance, epsilon=epsilon, is_training=False
        )

        def gradient(upstream):
            of_x, of_gain, of_offset, *_ = tf.raw_ops.FusedBatchNormGradV3(
                y_backprop=as_image(upstream),
                x=as_image(x),
                scale=gain,
                reserve_space_1=mean,
                reserve_space_2=variance,
                reserve_space_3=tf.zeros((0,)),
                epsilon=epsilon,
                is_training=of_batch,
            )
            return tf.reshape(of_x, tf.shape(x)), of_gain, of_offset

        return tf.reshape(outputs, tf.shape(x)), gradient

    mean, variance = tf.stop_gradient(mean), tf.stop_gradient(variance)
    return normalize(x, tf.convert_to_tensor(gain), tf.convert_to_tensor(offset))

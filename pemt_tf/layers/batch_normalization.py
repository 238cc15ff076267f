"""Batch normalization with the reference's running statistics (docs/reference_model.md section 8)."""

from __future__ import annotations

import math

import keras
from keras import KerasTensor, ops

from pemt_tf.config.allowed_values import Positive, Probability
from pemt_tf.config.argument_checks import check_arguments
from pemt_tf.device_choices import device_choices
from pemt_tf.layers.batch_norm_kernels import Channels, normalize_batch, normalize_by, normalize_by_running
from pemt_tf.layers.replicas import mean_over_replicas, replica_count


@keras.saving.register_keras_serializable("pemt_tf")
class BatchNormalization(keras.layers.BatchNormalization):
    """Normalizes by the biased batch variance but keeps the UNBIASED one as running variance, as PyTorch does.

    Keras stores the biased variance. Statistics are those of the global batch under a distribution strategy.
    """

    @check_arguments
    def __init__(self, momentum: Probability = 0.9, epsilon: Positive = 1e-5, **kwargs):
        kwargs.pop("synchronized", None)  # always, and done here
        kwargs.pop("axis", None)
        super().__init__(momentum=momentum, epsilon=epsilon, **kwargs)

    def call(self, x: KerasTensor, training: bool | None = None, mask: KerasTensor | None = None) -> KerasTensor:
        outputs, statistics = self.normalize(x, training)
        self.keep(statistics)
        return outputs

    def normalize(self, x: KerasTensor, training: bool | None = None) -> tuple:
        """The outputs, and the running statistics after this batch for `keep` (None where they are only used).

        It has no side effect, so the backward pass may compute it again.
        """
        channels = Channels(self.gamma, self.beta, self.moving_mean, self.moving_variance)
        of_batch = bool(training and self.trainable)
        path = _path()
        if path == "gpu_kernels" and not (of_batch and _single_value(x)):
            channels = Channels(*map(ops.convert_to_tensor, channels))
            if of_batch:
                return normalize_batch(x, channels, self.epsilon, self.momentum)
            return normalize_by_running(x, channels, self.epsilon), None
        statistics = None
        if of_batch:
            mean, variance, count = _batch_statistics(ops.cast(x, "float32"))
            channels = channels._replace(mean=mean, variance=variance)
            unbiased = variance * count / ops.maximum(count - 1.0, 1.0)
            statistics = self._moved(self.moving_mean, mean), self._moved(self.moving_variance, unbiased)
        if path == "cpu_kernels":
            return normalize_by(x, channels, self.epsilon, of_batch), statistics
        scale = channels.gain * ops.rsqrt(channels.variance + self.epsilon)
        outputs = (ops.cast(x, "float32") - channels.mean) * scale + channels.offset
        return ops.cast(outputs, self.compute_dtype), statistics

    def _moved(self, running, value: KerasTensor) -> KerasTensor:
        return running * self.momentum + ops.stop_gradient(value) * (1.0 - self.momentum)

    def keep(self, statistics) -> None:
        """Stores the running statistics of `normalize`."""
        if statistics is not None:
            for running, value in zip((self.moving_mean, self.moving_variance), statistics, strict=True):
                running.assign(value)


def _path() -> str:
    """The path of `DeviceChoices.batch_norm` that works here: the CPU's kernels do not know several replicas."""
    path = device_choices().batch_norm
    return "plain" if path == "cpu_kernels" and replica_count() > 1 else path


def _single_value(x: KerasTensor) -> bool:
    """Whether there is one value for each channel, whose unbiased variance no kernel defines."""
    return None not in x.shape and math.prod(x.shape[:-1]) == 1


def _batch_statistics(inputs):
    """Mean and biased variance of the global batch, [channels] float32, and the number of values, float32.

    The variance is that of centred values. `ops.moments` subtracts two large numbers instead, which costs two to three
    digits of the gradients of a 50-layer network.
    """
    mean = _channel_mean(inputs)
    variance = _channel_mean(ops.square(inputs - mean))
    mean, variance = _over_replicas(mean, variance)
    return mean, variance, ops.cast(ops.size(inputs) // inputs.shape[-1] * replica_count(), "float32")


def _channel_mean(x: KerasTensor) -> KerasTensor:
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


def _over_replicas(mean: KerasTensor, variance: KerasTensor):
    """Statistics of the global batch from those of equal shares of it."""
    if replica_count() == 1:
        return mean, variance
    total = mean_over_replicas(mean)
    return total, mean_over_replicas(variance + ops.square(mean - total))

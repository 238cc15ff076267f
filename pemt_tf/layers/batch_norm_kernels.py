"""Batch normalization by TensorFlow's own kernels; `BatchNormalization` chooses, by `device_choices`.

Common arguments: `x` is [batch, ..., channels] in any float type, everything else of a channel is [channels] float32.
Inputs and outputs keep the type of `x`; the kernels compute in float32, and nothing in float32 is kept of `x`.
"""

from __future__ import annotations

from typing import NamedTuple

from keras import KerasTensor

from pemt_tf.layers.replicas import replica_count, replica_index, sum_over_replicas


class Channels(NamedTuple):
    """What a batch norm knows of its channels.

    Attributes:
        gain, offset: trained factors and summands.
        mean, variance: running statistics, or those to normalize by.
    """

    gain: KerasTensor
    offset: KerasTensor
    mean: KerasTensor
    variance: KerasTensor


def normalize_by(x: KerasTensor, channels: Channels, epsilon: float, of_batch: bool) -> KerasTensor:
    """Normalizes by given statistics: TensorFlow's CPU kernels take any, forwards and backwards.

    Two to three times faster than by `keras.ops`. Only the statistics are ours: the kernels sum a whole batch in one
    float32, which leaves five digits of a variance.

    Args:
        x, channels: see above.
        epsilon: added to the variance.
        of_batch: whether the statistics are those of `x`, so that they have gradients too.
    """
    import tensorflow as tf

    mean, variance = tf.stop_gradient(channels.mean), tf.stop_gradient(channels.variance)

    @tf.custom_gradient
    def normalize(x: KerasTensor, gain, offset) -> KerasTensor:
        given = Channels(gain, offset, mean, variance)

        def gradient(upstream):
            of_x, of_gain, of_offset = _gradients_by_given(_as_row(upstream), _as_row(x), given, epsilon, of_batch)
            return tf.reshape(of_x, tf.shape(x)), of_gain, of_offset

        return tf.reshape(_by_given(_as_row(x), given, epsilon), tf.shape(x)), gradient

    return normalize(x, tf.convert_to_tensor(channels.gain), tf.convert_to_tensor(channels.offset))


def normalize_batch(
    x: KerasTensor, channels: Channels, epsilon: float, momentum: float
) -> tuple[KerasTensor, tuple[KerasTensor, KerasTensor]]:
    """Normalizes by the statistics of the batch, which the kernels compute themselves (cuDNN on a GPU).

    Args:
        x: see above.
        channels: with the running statistics.
        epsilon: added to the variance.
        momentum: share of the running statistics that stays.

    Returns:
        The outputs, and the running statistics after this batch. Their variance is unbiased: the kernels apply Bessel's
        correction to the variance that they give back, and not to the one that they normalize by.
    """
    if replica_count() > 1:
        return _normalize_global_batch(x, channels, epsilon, momentum)
    outputs, mean, variance = _of_batch(x, channels, epsilon, 1.0 - momentum)
    return _like(outputs, x), (mean, variance)


def normalize_by_running(x: KerasTensor, channels: Channels, epsilon: float) -> KerasTensor:
    """Normalizes by given statistics, which are not those of `x`."""
    return _like(_by_given(x, channels, epsilon), x)


def _normalize_global_batch(x: KerasTensor, channels: Channels, epsilon: float, momentum: float):
    """`normalize_batch` where each replica has an equal share of the batch: one exchange forwards, one backwards.

    A replica reads its share once for its own statistics (the kernel's outputs by these are of no use), and once to
    normalize by those of all. Backwards, the kernel for given statistics sums up what a replica has to exchange; what
    is then missing of the gradient is an affine function of `x`, which is again what a kernel computes.
    """
    import tensorflow as tf

    replicas = replica_count()
    own_count = tf.cast(tf.size(x) // x.shape[-1], "float32")
    count = own_count * replicas

    mean, variance = _global_statistics(tf.stop_gradient(x), channels, own_count)

    @tf.custom_gradient
    def normalize(x: KerasTensor, gain, offset):
        given = Channels(gain, offset, mean, variance)

        def gradient(upstream):
            of_x, of_gain, of_offset = _gradients_by_given(_as_images(upstream), _as_images(x), given, epsilon, False)
            sums = sum_over_replicas(tf.stack([of_gain, of_offset])) / count
            factor = -gain * tf.math.rsqrt(variance + epsilon)
            through_statistics = _by_given(x, Channels(factor * sums[0], factor * sums[1], mean, variance), epsilon)
            return _like(of_x + through_statistics, x), of_gain, of_offset

        return _like(_by_given(x, given, epsilon), x), gradient

    outputs = normalize(x, tf.convert_to_tensor(channels.gain), tf.convert_to_tensor(channels.offset))
    unbiased = variance * count / (count - 1.0)
    moved = [
        running * momentum + new * (1.0 - momentum) for running, new in zip(channels[2:], (mean, unbiased), strict=True)
    ]
    return outputs, (moved[0], moved[1])


def _global_statistics(x: KerasTensor, channels: Channels, own_count):
    """Mean and biased variance of the global batch, from those of the replicas' equal shares in one exchange."""
    import tensorflow as tf

    fresh = Channels(tf.ones_like(channels.mean), tf.zeros_like(channels.mean), channels.mean, channels.variance)
    _, mean, unbiased = _of_batch(x, fresh, epsilon=1e-5, factor=1.0)
    own = tf.stack([mean, unbiased * (own_count - 1.0) / own_count])
    # A sum of tables, each with one row filled in: all rows in one exchange.
    table = sum_over_replicas(tf.one_hot(replica_index(), replica_count())[:, None, None] * own)
    means, variances = table[:, 0], table[:, 1]
    mean = tf.reduce_mean(means, axis=0)
    return mean, tf.reduce_mean(variances + tf.square(means - mean), axis=0)


def _of_batch(x: KerasTensor, channels: Channels, epsilon: float, factor: float):
    """Outputs as images, and the statistics moved by `factor` towards those of `x`; differentiable."""
    import tensorflow as tf

    outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=_as_images(x),
        scale=channels.gain,
        offset=channels.offset,
        mean=channels.mean,
        variance=channels.variance,
        epsilon=epsilon,
        exponential_avg_factor=factor,
        is_training=True,
    )
    return outputs, mean, variance


def _by_given(x: KerasTensor, channels: Channels, epsilon: float):
    """Outputs as images; differentiable, the statistics being constants."""
    import tensorflow as tf

    outputs, *_ = tf.raw_ops.FusedBatchNormV3(
        x=_as_images(x),
        scale=channels.gain,
        offset=channels.offset,
        mean=channels.mean,
        variance=channels.variance,
        epsilon=epsilon,
        is_training=False,
    )
    return outputs


def _gradients_by_given(upstream, x, channels: Channels, epsilon: float, of_batch: bool):
    """Gradients of `x`, gain and offset, all on four axes; `of_batch`: the statistics are those of `x`."""
    import tensorflow as tf

    of_x, of_gain, of_offset, *_ = tf.raw_ops.FusedBatchNormGradV3(
        y_backprop=upstream,
        x=x,
        scale=channels.gain,
        reserve_space_1=channels.mean,
        reserve_space_2=channels.variance,
        reserve_space_3=tf.zeros((0,)),
        epsilon=epsilon,
        is_training=of_batch,
    )
    return of_x, of_gain, of_offset


def _as_row(values: KerasTensor):
    """[batch, ..., channels] as one row of pixels."""
    import tensorflow as tf

    return tf.reshape(values, (1, 1, -1, values.shape[-1]))


def _as_images(values: KerasTensor):
    """The four axes that the kernels take; images stay as they are, so that TensorFlow can fuse what comes next."""
    return values if len(values.shape) == 4 else _as_row(values)


def _like(values: KerasTensor, x: KerasTensor):
    """The inverse of `_as_images`."""
    import tensorflow as tf

    return values if len(x.shape) == 4 else tf.reshape(values, tf.shape(x))

"""Random augmentation of a clip: every draw follows from a seed, and is the same for all segments of the clip."""

from __future__ import annotations

import math

import tensorflow as tf

MASK_SHARE = 0.05
_NATURAL_LOG_PER_DECIBEL = math.log(10) / 10  # of power


def random_flip(frames: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Mirrors all frames [..., height, width, 3] left to right with probability one half."""
    flip = tf.random.stateless_uniform([], seed) < 0.5
    return tf.cond(flip, lambda: tf.reverse(frames, [-2]), lambda: frames)


def mask_axis(log_mel: tf.Tensor, axis: int, length: tf.Tensor, start: tf.Tensor) -> tf.Tensor:
    """Sets the positions t with start <= t < start + length of one axis to 0.0 (energy 1, in the log domain).

    `log_mel` is [..., mel_bins, mel_frames]; axis -2 is frequency, -1 time. The reference draws real numbers.
    """
    positions = tf.range(log_mel.shape[axis], dtype=tf.float32)
    hidden = (positions >= start) & (positions < start + length)
    hidden = hidden[:, None] if axis == -2 else hidden
    return tf.where(hidden, 0.0, log_mel)


def random_spectrogram_masks(
    log_mel: tf.Tensor, seed: tf.Tensor, share: float = MASK_SHARE, count: int = 1
) -> tf.Tensor:
    """`count` frequency and time masks in turn, each up to a share of its axis (docs/reference_model.md section 12).

    `log_mel` is [segments, mel_bins, mel_frames] float32, the seed [2] int32.
    """
    draws = tf.random.stateless_uniform([count, 2, 2], seed)
    for number in range(count):
        for row, axis in enumerate((-2, -1)):
            size = _size(log_mel, axis)
            length = draws[number, row, 0] * float(int(size * share))
            log_mel = mask_axis(log_mel, axis, length, draws[number, row, 1] * (size - length))
    return log_mel


def _size(values: tf.Tensor, axis: int) -> int:
    size = values.shape[axis]
    assert size is not None  # spectrograms have static shapes
    return size


def random_gain(log_mel: tf.Tensor, seed: tf.Tensor, decibels: float) -> tf.Tensor:
    """Makes a clip louder or softer by up to `decibels`, uniformly: the natural log of power is shifted by a constant.

    The floor of silence, ln(1e-6), is shifted along.
    """
    return log_mel + tf.random.stateless_uniform([], seed, -decibels, decibels) * _NATURAL_LOG_PER_DECIBEL


def random_time_roll(log_mel: tf.Tensor, seed: tf.Tensor, share: float) -> tf.Tensor:
    """Rolls [..., mel_frames] in time by up to `share` of its length either way, by whole positions."""
    furthest = int(_size(log_mel, -1) * share)
    shift = tf.random.stateless_uniform([], seed, -furthest, furthest + 1, dtype=tf.int32)
    return tf.roll(log_mel, shift, axis=-1)


def mixup_weight(seed: tf.Tensor, alpha: float) -> tf.Tensor:
    """How much of a clip remains when another is mixed in: Beta(alpha, alpha), the larger side, 0.5 to 1.

    Which of the two clips of a pair is the larger part does not matter in batches of random order. Taking the larger
    side for the clip itself leaves its label the main one.
    """
    draws = tf.random.stateless_gamma([2], seed, alpha)  # pyright: ignore[reportArgumentType] - it takes numbers too
    # Both draws may be too small for a float32 where alpha is small; such a clip stays unmixed.
    share = tf.math.divide_no_nan(draws[0], draws[0] + draws[1])
    return tf.maximum(share, 1.0 - share)

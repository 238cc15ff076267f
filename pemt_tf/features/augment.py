"""Random augmentation of a clip: every draw follows from a seed, and is the same for all segments of the clip."""

from __future__ import annotations

import tensorflow as tf

MASK_SHARE = 0.05


def random_flip(frames: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Mirrors all frames [..., height, width, 3] left to right with probability one half."""
    flip = tf.random.stateless_uniform([], seed) < 0.5
    return tf.cond(flip, lambda: tf.reverse(frames, [-2]), lambda: frames)


def mask_axis(log_mel: tf.Tensor, axis: int, length: tf.Tensor, start: tf.Tensor) -> tf.Tensor:
    """Sets the positions t with start <= t < start + length of one axis to 0.0 (energy 1, in the log domain).

    Args:
        log_mel: [..., mel_bins, mel_frames].
        axis: -2 for frequency, -1 for time.
        length, start: real numbers, as the reference draws them.
    """
    positions = tf.range(log_mel.shape[axis], dtype=tf.float32)
    hidden = (positions >= start) & (positions < start + length)
    hidden = hidden[:, None] if axis == -2 else hidden
    return tf.where(hidden, 0.0, log_mel)


def random_spectrogram_masks(log_mel: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """One frequency mask, then one time mask, each up to 5 % of the axis (REFERENCE.md section 12).

    Args:
        log_mel: [segments, mel_bins, mel_frames] float32.
        seed: [2] int32.
    """
    draws = tf.random.stateless_uniform([2, 2], seed)
    for row, axis in enumerate((-2, -1)):
        size = log_mel.shape[axis]
        length = draws[row, 0] * float(int(size * MASK_SHARE))
        log_mel = mask_axis(log_mel, axis, length, draws[row, 1] * (size - length))
    return log_mel

"""Checks of requests inside a servable's graph: a bad request gets INVALID_ARGUMENT and one sentence.

The sentence says what was given and what is expected. Servers escape quotation marks and non-ASCII characters, so the
sentences have none. The signatures leave all shapes open: with a static shape the runtime would refuse a request in its
own words, or drop our check as always true.
"""

from __future__ import annotations

import tensorflow as tf

from pemt_tf.config import ClipGeometry

MAX_SIDE = 16_384  # pixels, of a frame
MAX_LEVEL = 16.0  # of a sample; full scale is 1, and far larger values are integers that were not scaled


def require(condition: tf.Tensor, message: str, *values: tf.Tensor) -> tf.Operation:
    """Makes an operation that fails with INVALID_ARGUMENT unless a scalar holds; `{}` in the message shows a value."""
    return tf.debugging.Assert(condition, [tf.strings.format(message, values) if values else tf.constant(message)])


def after(checks: list[tf.Operation], tensor: tf.Tensor) -> tf.Tensor:
    """The tensor, available only after the checks have passed."""
    with tf.control_dependencies(checks):
        return tf.identity(tensor)


def checked_frames(frames: tf.Tensor, geometry: ClipGeometry, max_segments: int) -> tf.Tensor:
    """Refuses frames of a wrong shape; returns [clips, segments, frames, height, width, 3] uint8."""
    count = geometry.frames_per_segment
    shape = tf.shape(frames)
    sizes, fits = _compare(shape, (None, None, count, None, None, 3), max_segments)
    fits &= tf.reduce_all(sizes[3:5] <= MAX_SIDE)
    check = require(
        fits,
        f"frames has the shape {{}}; expected uint8 [clips, segments, {count}, height, width, 3] with at least one "
        f"clip, 1 to {max_segments} segments, and height and width from 1 to {MAX_SIDE}",
        shape,
    )
    return tf.ensure_shape(after([check], frames), [None, None, count, None, None, 3])


def checked_waveform(waveform: tf.Tensor, geometry: ClipGeometry, max_segments: int) -> tf.Tensor:
    """Refuses audio of a wrong shape or with values that are not finite; returns [clips, segments, samples] float32."""
    samples = geometry.samples_per_segment
    shape = tf.shape(waveform)
    _, fits = _compare(shape, (None, None, samples), max_segments)
    shaped = require(
        fits,
        f"waveform has the shape {{}}; expected float32 [clips, segments, {samples}] with at least one clip and 1 to "
        f"{max_segments} segments: mono at {geometry.sample_rate} Hz",
        shape,
    )
    waveform = after([shaped], waveform)
    message = "waveform holds NaN or infinite samples; expected finite ones, full scale from -1 to 1"
    finite = require(tf.reduce_all(tf.math.is_finite(waveform)), message)
    level = tf.reduce_max(tf.abs(waveform))
    # A comparison with NaN is false, so NaN gets only the sentence above.
    message = "waveform has samples up to {}; expected full scale from -1 to 1 (divide 16-bit integers by 32768)"
    loud = require(tf.logical_not(tf.math.is_finite(level) & (level > MAX_LEVEL)), message, level)
    return tf.ensure_shape(after([finite, loud], waveform), [None, None, samples])


def _compare(shape: tf.Tensor, wanted: tuple[int | None, ...], max_segments: int) -> tuple[tf.Tensor, tf.Tensor]:
    """The sizes of a shape [clips, segments, ...], cut or filled up with zeros to the wanted rank; whether they fit."""
    rank = len(wanted)
    sizes = tf.concat([shape, tf.zeros([rank], tf.int32)], 0)[:rank]  # so that any rank can be checked
    fits = tf.equal(tf.size(shape), rank) & tf.reduce_all(sizes >= 1) & (sizes[1] <= max_segments)
    for axis, size in enumerate(wanted):
        fits = fits if size is None else fits & tf.equal(sizes[axis], size)
    return sizes, fits


def same_clips(frames: tf.Tensor, waveform: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Refuses frames and audio that differ in the number of clips or segments."""
    seen, heard = tf.shape(frames)[:2], tf.shape(waveform)[:2]
    message = "frames has {} clips and segments but waveform has {}; expected the same numbers"
    check = require(tf.reduce_all(tf.equal(seen, heard)), message, seen, heard)
    return after([check], frames), after([check], waveform)


def checked_strings(values: tf.Tensor, name: str, meaning: str) -> tf.Tensor:
    """Refuses anything but a non-empty list of strings; returns [count] string."""
    shape = tf.shape(values)
    fits = tf.equal(tf.size(shape), 1) & (tf.size(values) >= 1)
    check = require(fits, f"{name} has the shape {{}}; expected a list of at least one string: {meaning}", shape)
    return tf.ensure_shape(after([check], values), [None])

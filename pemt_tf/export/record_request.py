"""Serialized records in a request: checked, parsed and decoded inside the graph.

Only what the model uses is read, so a record without an id or with other labels is accepted. The same function as in
evaluation, `decode_for_evaluation`, decodes it.
"""

from __future__ import annotations

import math
from typing import cast

import tensorflow as tf

from pemt_tf.config import ClipGeometry
from pemt_tf.data import records
from pemt_tf.data.input_pipeline import decode_for_evaluation
from pemt_tf.export.request_checks import MAX_SIDE, after, checked_strings, require

_HEAD = 6  # bytes: the key of the only field of an Example, and a length of at most five
_JPEG, _JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
_SCALARS = (records.HAS_VIDEO, records.HAS_AUDIO, records.IMAGE_HEIGHT, records.IMAGE_WIDTH)


def decode_records(examples: tf.Tensor, geometry: ClipGeometry, modalities: tuple[str, ...]) -> dict[str, tf.Tensor]:
    """Checks and decodes a batch of serialized `tf.train.Example`s, [clips] string.

    Returns:
        As `decode_for_evaluation` for every clip: `frames` [clips, segments, frames, crop, crop, 3] uint8, `log_mel`
        [clips, segments, mel_bins, mel_frames, 1] float32, `visual_mask`, `audio_mask` [clips, segments] float32.
        A modality that is not in `modalities` is not decoded.
    """
    examples = checked_strings(examples, "examples", "records as beam_jobs.preprocess and pemt predict make them")
    examples = _whole(examples)
    features = {name: tf.io.RaggedFeature(tf.int64) for name in _SCALARS}
    features |= {records.IMAGE: tf.io.RaggedFeature(tf.string), records.LOG_MEL: tf.io.RaggedFeature(tf.float32)}
    parsed = cast("dict[str, tf.RaggedTensor]", tf.io.parse_example(examples, features))
    scalars = _scalars(parsed)
    seen, heard = scalars[records.HAS_VIDEO] > 0, scalars[records.HAS_AUDIO] > 0
    clips = {
        "number": tf.range(tf.size(examples)),
        "has_video": seen if "visual" in modalities else tf.zeros_like(seen),
        "has_audio": heard if "audio" in modalities else tf.zeros_like(heard),
        "height": tf.cast(scalars[records.IMAGE_HEIGHT], tf.int32),
        "width": tf.cast(scalars[records.IMAGE_WIDTH], tf.int32),
    }
    clips["jpegs"] = _frames(parsed[records.IMAGE], clips, geometry)
    clips["log_mel"] = _spectrograms(parsed[records.LOG_MEL], clips["has_audio"], geometry)
    return tf.map_fn(lambda clip: _decode(clip, geometry), clips, fn_output_signature=_clip_signature(geometry))


def _whole(examples: tf.Tensor) -> tf.Tensor:
    """Refuses a truncated record and anything but an Example: one field, number 1, of the length that it states."""
    sizes = tf.strings.length(examples)
    heads = tf.io.decode_raw(tf.strings.substr(examples + b"\0" * _HEAD, 0, _HEAD), tf.uint8)
    digits = tf.cast(heads[:, 1:], tf.int64)
    continues = tf.cast(digits >= 128, tf.int64)
    used = tf.concat([tf.ones_like(continues[:, :1]), tf.math.cumprod(continues, axis=1)[:, :-1]], 1)
    weights = tf.constant([1 << (7 * place) for place in range(_HEAD - 1)], tf.int64)
    length = tf.reduce_sum((digits % 128) * used * weights, axis=1)
    whole = tf.cast(sizes, tf.int64) == 1 + tf.reduce_sum(used, axis=1) + length
    message = (
        "examples[{}] ({} bytes) is not a tf.train.Example, or is truncated; expected a whole record as "
        "beam_jobs.preprocess and pemt predict make them"
    )
    return after([_refuse(~(whole & (heads[:, 0] == 0x0A)), message, sizes)], examples)


def _scalars(parsed: dict[str, tf.RaggedTensor]) -> dict[str, tf.Tensor]:
    """The features that must have one value; [clips] int64 each."""
    scalars = {}
    for name in _SCALARS:
        counts = tf.cast(parsed[name].row_lengths(), tf.int32)
        message = f"examples[{{}}] has {{}} values of {name}; expected one, as in the records of beam_jobs.preprocess"
        scalars[name] = after([_refuse(counts != 1, message, counts)], parsed[name].to_tensor(shape=[None, 1]))[:, 0]
    return scalars


def _frames(jpegs: tf.RaggedTensor, clips: dict[str, tf.Tensor], geometry: ClipGeometry) -> tf.Tensor:
    """Refuses a wrong number, size or type of frames; returns [clips, frames] string, empty without frames."""
    segments, per_segment = geometry.segments, geometry.frames_per_segment
    seen, size = clips["has_video"], segments * per_segment
    counts = tf.cast(jpegs.row_lengths(), tf.int32)
    message = f"examples[{{}}] has {{}} frames; expected {size} ({segments} segments of {per_segment})"
    counted = _refuse(seen & (counts != size), message, counts)
    height, width = clips["height"], clips["width"]
    message = f"examples[{{}}] states that its frames have {{}} rows and {{}} columns; expected 1 to {MAX_SIDE}"
    wrong = (tf.minimum(height, width) < 1) | (tf.maximum(height, width) > MAX_SIDE)
    sized = _refuse(seen & wrong, message, height, width)
    dense = after([counted, sized], jpegs.to_tensor("", shape=[None, size]))
    other = seen & tf.reduce_any(tf.strings.substr(dense, 0, len(_JPEG)) != _JPEG, axis=1)
    dense = after([_refuse(other, "examples[{}] has a frame that is not a JPEG")], dense)
    cut = seen & tf.reduce_any(tf.logical_not(_has_end(dense)), axis=1)
    return after([_refuse(cut, "examples[{}] has a frame that is truncated")], dense)


def _has_end(jpegs: tf.Tensor) -> tf.Tensor:
    """Whether each string has a JPEG's end marker, which is usually last; bool of the same shape."""
    end = len(_JPEG_END)
    last = tf.strings.substr(jpegs, tf.maximum(tf.strings.length(jpegs) - end, 0), end * tf.ones_like(jpegs, tf.int32))
    others = tf.where(last == _JPEG_END, _JPEG_END, jpegs)  # only strings that continue after it are searched
    parts = tf.strings.split(tf.reshape(others, [-1]), _JPEG_END).row_lengths()
    return tf.reshape(parts > 1, tf.shape(jpegs))


def _spectrograms(values: tf.RaggedTensor, heard: tf.Tensor, geometry: ClipGeometry) -> tf.Tensor:
    """Refuses spectrograms of the wrong size or with values that are not finite; zeros for a clip without audio."""
    segments, bins, steps = shape = (geometry.segments, geometry.mel_bins, geometry.mel_frames)
    size = math.prod(shape)
    counts = tf.cast(values.row_lengths(), tf.int32)
    message = f"examples[{{}}] has {{}} spectrogram values; expected {size} ({segments} segments of {bins} x {steps})"
    dense = after([_refuse(heard & (counts != size), message, counts)], values.to_tensor(0.0, shape=[None, size]))
    dense = tf.where(heard[:, None], dense, 0.0)
    infinite = ~tf.reduce_all(tf.math.is_finite(dense), axis=1)
    finite = _refuse(infinite, "examples[{}] has NaN or infinite values in its spectrogram")
    return tf.reshape(after([finite], dense), [-1, *shape])


def _decode(clip: dict[str, tf.Tensor], geometry: ClipGeometry) -> dict[str, tf.Tensor]:
    """Decodes one clip, if its first frame has the size that the record states."""

    def sized() -> tf.Tensor:
        shape = tf.image.extract_jpeg_shape(clip["jpegs"][0])
        said = tf.stack([clip["height"], clip["width"]])
        message = "examples[{}] states that its frames have {} rows and columns, but the first has {}"
        check = require(tf.reduce_all(shape[:2] == said), message, clip["number"], said, shape[:2])
        return after([check], clip["jpegs"])

    jpegs = tf.cond(clip["has_video"], sized, lambda: clip["jpegs"])
    return decode_for_evaluation({**clip, "jpegs": jpegs}, geometry)


def _refuse(wrong: tf.Tensor, message: str, *values: tf.Tensor) -> tf.Operation:
    """A check that refuses clips; the message gets the number of the first wrong clip, and its values."""
    first = tf.argmax(tf.cast(wrong, tf.int32), output_type=tf.int32)
    return require(tf.logical_not(tf.reduce_any(wrong)), message, first, *(value[first] for value in values))


def _clip_signature(geometry: ClipGeometry) -> dict[str, tf.TensorSpec]:
    segments, crop = geometry.segments, geometry.test_crop
    return {
        "frames": tf.TensorSpec([segments, geometry.frames_per_segment, crop, crop, 3], tf.uint8),
        "log_mel": tf.TensorSpec([segments, geometry.mel_bins, geometry.mel_frames, 1], tf.float32),
        "visual_mask": tf.TensorSpec([segments], tf.float32),
        "audio_mask": tf.TensorSpec([segments], tf.float32),
    }

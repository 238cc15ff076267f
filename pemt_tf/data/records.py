"""The record: one clip as a `tf.train.Example`, with MediaSequence names. Its writer, parser and fake data.

A missing stream is a flag (`has_video`, `has_audio`) and an absent feature, never zeros that look like data.
The parser gives zeros for a missing stream only to keep shapes static, together with its flag.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from pemt_tf.config import ClipGeometry

CLIP_ID = "clip/id"
DATA_PATH = "clip/data_path"
START = "clip/start/timestamp"
END = "clip/end/timestamp"
LABEL_INDEX = "clip/label/index"
LABEL_STRING = "clip/label/string"
IMAGE = "image/encoded"
IMAGE_TIMESTAMP = "image/timestamp"
IMAGE_HEIGHT = "image/height"
IMAGE_WIDTH = "image/width"
LOG_MEL = "audio/log_mel"
HAS_VIDEO = "has_video"
HAS_AUDIO = "has_audio"

# What TFX statistics and validation may look at: scalars, never images or spectrograms.
SCALAR_FEATURES = (START, END, LABEL_INDEX, LABEL_STRING, IMAGE_HEIGHT, IMAGE_WIDTH, HAS_VIDEO, HAS_AUDIO)

UNLABELLED = -1


@dataclass(frozen=True)
class ClipRecord:
    """One clip, ready to be written.

    Attributes:
        clip_id: unique within the data set.
        data_path: the source, as given.
        start, end: stretch of the source, seconds.
        jpegs: segments x frames JPEGs, row-major, all height x width pixels; None where there is no video.
        image_times: presentation time of each JPEG, seconds.
        height, width: pixels; 0 without video.
        log_mel: [segments, mel_bins, mel_frames] float32, natural-log mel power; None where there is no audio.
        labels: label names (usually none or one).
        label_indices: their rows in the data set's vocabulary.
    """

    clip_id: str
    data_path: str
    start: float
    end: float
    jpegs: list[bytes] | None
    image_times: list[float]
    height: int
    width: int
    log_mel: np.ndarray | None
    labels: tuple[str, ...] = ()
    label_indices: tuple[int, ...] = ()


def microseconds(seconds: float) -> int:
    """Seconds to the integer microseconds that MediaSequence stores."""
    return round(seconds * 1e6)


def serialize(clip: ClipRecord, geometry: ClipGeometry) -> bytes:
    """Serializes a clip.

    Raises:
        ValueError: the clip does not have this geometry; a programming error of the caller.
    """
    count = geometry.segments * geometry.frames_per_segment
    if clip.jpegs is not None and not len(clip.jpegs) == len(clip.image_times) == count:
        raise ValueError(f"{clip.clip_id}: {len(clip.jpegs)} JPEGs, {len(clip.image_times)} times; expected {count}")
    mel_shape = (geometry.segments, geometry.mel_bins, geometry.mel_frames)
    if clip.log_mel is not None and clip.log_mel.shape != mel_shape:
        raise ValueError(f"{clip.clip_id}: log-mel has shape {clip.log_mel.shape}; expected {mel_shape}")
    example = tf.train.Example()
    feature = example.features.feature
    feature[CLIP_ID].bytes_list.value.append(clip.clip_id.encode())
    feature[DATA_PATH].bytes_list.value.append(clip.data_path.encode("utf-8", "surrogateescape"))
    feature[START].int64_list.value.append(microseconds(clip.start))
    feature[END].int64_list.value.append(microseconds(clip.end))
    feature[LABEL_INDEX].int64_list.value.extend(clip.label_indices)
    feature[LABEL_STRING].bytes_list.value.extend(label.encode() for label in clip.labels)
    if clip.jpegs is not None:
        feature[IMAGE].bytes_list.value.extend(clip.jpegs)
        feature[IMAGE_TIMESTAMP].int64_list.value.extend(microseconds(t) for t in clip.image_times)
    feature[IMAGE_HEIGHT].int64_list.value.append(clip.height)
    feature[IMAGE_WIDTH].int64_list.value.append(clip.width)
    if clip.log_mel is not None:
        feature[LOG_MEL].float_list.value.extend(clip.log_mel.ravel().tolist())
    feature[HAS_VIDEO].int64_list.value.append(int(clip.jpegs is not None))
    feature[HAS_AUDIO].int64_list.value.append(int(clip.log_mel is not None))
    # Map fields have no fixed order on the wire; equal clips must give equal bytes.
    return example.SerializeToString(deterministic=True)


def feature_spec(geometry: ClipGeometry) -> dict[str, object]:
    """What `tf.io.parse_single_example` needs to read a record of this geometry."""
    scalar = tf.io.FixedLenFeature([], tf.int64)
    mel = (geometry.segments, geometry.mel_bins, geometry.mel_frames)
    return {
        CLIP_ID: tf.io.FixedLenFeature([], tf.string),
        DATA_PATH: tf.io.FixedLenFeature([], tf.string),
        START: scalar,
        END: scalar,
        LABEL_INDEX: tf.io.RaggedFeature(tf.int64),
        IMAGE: tf.io.RaggedFeature(tf.string),
        IMAGE_HEIGHT: scalar,
        IMAGE_WIDTH: scalar,
        LOG_MEL: tf.io.FixedLenFeature(mel, tf.float32, default_value=np.zeros(mel, np.float32)),
        HAS_VIDEO: scalar,
        HAS_AUDIO: scalar,
    }


def parse(serialized: tf.Tensor, geometry: ClipGeometry) -> dict[str, tf.Tensor]:
    """Parses one serialized record; works in tf.data and inside an exported graph.

    Args:
        serialized: scalar string.
        geometry: of the data set.

    Returns:
        `id`, `path`: scalar string; `start`, `end`: scalar float32, seconds; `label`: scalar int64, -1 if unlabelled;
        `jpegs`: [segments * frames] string, empty strings where there is no video; `height`, `width`: scalar int32;
        `log_mel`: [segments, mel_bins, mel_frames] float32, zeros where there is no audio;
        `has_video`, `has_audio`: scalar bool.
    """
    raw = tf.io.parse_single_example(serialized, feature_spec(geometry))
    count = geometry.segments * geometry.frames_per_segment
    has_video = raw[HAS_VIDEO] > 0
    jpegs = tf.cond(has_video, lambda: raw[IMAGE], lambda: tf.fill([count], ""))
    return {
        "id": raw[CLIP_ID],
        "path": raw[DATA_PATH],
        "start": tf.cast(raw[START], tf.float32) / 1e6,
        "end": tf.cast(raw[END], tf.float32) / 1e6,
        "label": tf.concat([raw[LABEL_INDEX], [UNLABELLED]], 0)[0],
        "jpegs": tf.ensure_shape(jpegs, [count]),
        "height": tf.cast(raw[IMAGE_HEIGHT], tf.int32),
        "width": tf.cast(raw[IMAGE_WIDTH], tf.int32),
        "log_mel": raw[LOG_MEL],
        "has_video": has_video,
        "has_audio": raw[HAS_AUDIO] > 0,
    }


def get_fake_clip(
    geometry: ClipGeometry,
    seed: int = 0,
    label: int | None = None,
    width: int | None = None,
    video: bool = True,
    audio: bool = True,
) -> ClipRecord:
    """A random but valid clip of this geometry, for tests that need records and no media files."""
    rng = np.random.default_rng(seed)
    count = geometry.segments * geometry.frames_per_segment
    height = geometry.stored_short_side
    width = width or height
    pixels = rng.integers(0, 256, (count, height, width, 3), np.uint8)
    times = np.linspace(0, 10, count).tolist()
    log_mel = rng.normal(-4, 2, (geometry.segments, geometry.mel_bins, geometry.mel_frames)).astype(np.float32)
    return ClipRecord(
        clip_id=f"fake-{seed:06d}",
        data_path=f"fake/{seed:06d}.mp4",
        start=0.0,
        end=10.0,
        jpegs=[tf.io.encode_jpeg(frame).numpy() for frame in pixels] if video else None,
        image_times=times if video else [],
        height=height if video else 0,
        width=width if video else 0,
        log_mel=log_mel if audio else None,
        labels=() if label is None else (f"label{label}",),
        label_indices=() if label is None else (label,),
    )

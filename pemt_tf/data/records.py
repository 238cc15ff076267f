"""Records in TensorFlow: their parser for tf.data and for exported graphs, and fake data.

`record_format.py` describes records on disk; this module offers its names as well. For a missing modality the parser
gives its flag and, only to keep shapes static, zeros.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from pemt_tf.config import ClipGeometry
from pemt_tf.data.record_format import (  # noqa: F401 - callers find them here
    CLIP_ID,
    DATA_PATH,
    END,
    EXAMPLE,
    EXTRA,
    HAS_AUDIO,
    HAS_VIDEO,
    IMAGE,
    IMAGE_HEIGHT,
    IMAGE_TIMESTAMP,
    IMAGE_WIDTH,
    LABEL_INDEX,
    LABEL_STRING,
    LOG_MEL,
    PAYLOADS,
    SEQUENCE_EXAMPLE,
    SEQUENCE_LOG_MEL,
    START,
    WAVEFORM,
    ClipRecord,
    microseconds,
    serialize,
)

# What TFX statistics and validation may look at: scalars, never frames or spectrograms.
SCALAR_FEATURES = (START, END, LABEL_INDEX, LABEL_STRING, IMAGE_HEIGHT, IMAGE_WIDTH, HAS_VIDEO, HAS_AUDIO)

UNLABELLED = -1


def feature_spec(geometry: ClipGeometry) -> dict[str, Any]:
    """The features of a record of this geometry, for `tf.io.parse_single_example`."""
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


def parse(serialized: tf.Tensor, geometry: ClipGeometry, payload: str = EXAMPLE) -> dict[str, tf.Tensor]:
    """Parses one serialized record; works in tf.data and inside an exported graph.

    Args:
        serialized: scalar string.
        geometry: the data set's clip geometry.
        payload: form of the records.

    Returns:
        `id`, `path`: scalar string; `start`, `end`: scalar float32, seconds;
        `label`: scalar int64, the first label, -1 if unlabelled; `labels`: [labels of the clip] int64;
        `jpegs`: [segments * frames] string, empty strings where there is no video; `height`, `width`: scalar int32;
        `log_mel`: [segments, mel_bins, mel_frames] float32, zeros where there is no audio;
        `has_video`, `has_audio`: scalar bool.
    """
    if payload == SEQUENCE_EXAMPLE:
        raw = _parse_sequence(serialized, geometry)
    else:
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
        "labels": raw[LABEL_INDEX],
        "jpegs": tf.ensure_shape(jpegs, [count]),
        "height": tf.cast(raw[IMAGE_HEIGHT], tf.int32),
        "width": tf.cast(raw[IMAGE_WIDTH], tf.int32),
        "log_mel": raw[LOG_MEL],
        "has_video": has_video,
        "has_audio": raw[HAS_AUDIO] > 0,
    }


def count_values(serialized: bytes, payload: str = EXAMPLE) -> tuple[int, int]:
    """Numbers of frames and spectrogram values in a record, whatever the geometry; DecodeError if it is no record."""
    if payload == SEQUENCE_EXAMPLE:
        lists = tf.train.SequenceExample.FromString(serialized).feature_lists.feature_list
        return len(lists[IMAGE].feature), sum(len(one.float_list.value) for one in lists[SEQUENCE_LOG_MEL].feature)
    feature = tf.train.Example.FromString(serialized).features.feature
    return len(feature[IMAGE].bytes_list.value), len(feature[LOG_MEL].float_list.value)


def _parse_sequence(serialized: tf.Tensor, geometry: ClipGeometry) -> dict[str, tf.Tensor]:
    mel = (geometry.mel_bins, geometry.mel_frames)
    lists = {
        IMAGE: tf.io.FixedLenSequenceFeature([], tf.string, allow_missing=True),
        SEQUENCE_LOG_MEL: tf.io.FixedLenSequenceFeature(mel, tf.float32, allow_missing=True),
    }
    scalars = {name: kind for name, kind in feature_spec(geometry).items() if name not in (IMAGE, LOG_MEL)}
    context, sequences = tf.io.parse_single_sequence_example(serialized, scalars, lists)
    none = tf.zeros((geometry.segments, *mel))
    log_mel = tf.cond(context[HAS_AUDIO] > 0, lambda: sequences[SEQUENCE_LOG_MEL], lambda: none)
    return {**context, IMAGE: sequences[IMAGE], LOG_MEL: tf.ensure_shape(log_mel, none.shape)}


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

"""Made clips of several labels, drawn independently, each of which shows in its own part of a clip."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import tensorflow as tf

from pemt_tf.config import ClipGeometry
from pemt_tf.data import records
from tests.fake_dataset import LABELS, write_dataset

# label0: the upper half of the spectrogram is louder; label1: the lower half; label2: the frames are brighter.
SPLITS = {"train": 60, "validation": 16, "test": 48}


def several_clip(geometry: ClipGeometry, seed: int) -> records.ClipRecord:
    """Each label with probability 0.4; one clip in five or so has none."""
    rng = np.random.default_rng([17, seed])
    indices = tuple(np.flatnonzero(rng.random(len(LABELS)) < 0.4).tolist())
    clip = records.get_fake_clip(geometry, seed)
    log_mel, half = clip.log_mel.copy(), geometry.mel_bins // 2
    log_mel[:, half:] += 6.0 * (0 in indices)
    log_mel[:, :half] += 6.0 * (1 in indices)
    side = geometry.stored_short_side
    frames = rng.integers(0, 120, (geometry.segments * geometry.frames_per_segment, side, side, 3)) + 120 * (
        2 in indices
    )
    jpegs = [tf.io.encode_jpeg(frame.astype(np.uint8)).numpy() for frame in frames]
    names = tuple(LABELS[index] for index in indices)
    return dataclasses.replace(clip, log_mel=log_mel, jpegs=jpegs, labels=names, label_indices=indices)


def write_several(folder: Path, geometry: ClipGeometry) -> Path:
    """A data set of `SPLITS`."""
    first, splits = 0, {}
    for split, count in SPLITS.items():
        splits[split] = [several_clip(geometry, first + number) for number in range(count)]
        first += count
    return write_dataset(folder, geometry, splits)

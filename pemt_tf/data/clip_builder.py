"""From a decoded clip to a record: the last step, shared by data preparation and by prediction on a video file."""

from __future__ import annotations

import numpy as np

from pemt_tf.config import ClipGeometry
from pemt_tf.data.records import ClipRecord
from pemt_tf.features import audio
from pemt_tf.features.decode import DecodedClip


def build_clip(
    decoded: DecodedClip,
    geometry: ClipGeometry,
    clip_id: str,
    data_path: str,
    labels: tuple[str, ...] = (),
    label_indices: tuple[int, ...] = (),
) -> ClipRecord:
    """Makes the record of a decoded clip; the waveform becomes log-mel spectrograms.

    Args:
        decoded: the pictures and the sound.
        geometry: with which it was decoded.
        clip_id: unique within the data set.
        data_path: the source, as given.
        labels, label_indices: names, and their rows in the vocabulary.
    """
    log_mel = None
    if decoded.waveform is not None:
        log_mel = np.asarray(audio.log_mel(decoded.waveform, geometry), np.float32)
    return ClipRecord(
        clip_id=clip_id,
        data_path=data_path,
        start=decoded.start,
        end=decoded.end,
        jpegs=decoded.jpegs,
        image_times=decoded.image_times,
        height=decoded.height,
        width=decoded.width,
        log_mel=log_mel,
        labels=labels,
        label_indices=label_indices,
    )

"""From a decoded clip to a record: the last step of data preparation and of prediction on a video. No TensorFlow."""

from __future__ import annotations

import numpy as np

from pemt_tf.config import ClipGeometry
from pemt_tf.data.record_format import ClipRecord
from pemt_tf.media.decoded_clip import DecodedClip


def clip_id(name: str, start: float | None = None, end: float | None = None) -> str:
    """A clip's id: its file's readable name and, where the clip is a part of the file, the seconds."""
    if start is None and end is None:
        return name
    return f"{name}#{0 if start is None else start:g}-{'end' if end is None else format(end, 'g')}"


def build_clip(
    decoded: DecodedClip,
    geometry: ClipGeometry,
    clip_id: str,
    data_path: str,
    labels: tuple[str, ...] = (),
    label_indices: tuple[int, ...] = (),
    extra: tuple[tuple[str, str], ...] = (),
    keep_waveform: bool = False,
) -> ClipRecord:
    """Makes the record of a decoded clip; the waveform becomes log-mel spectrograms, and is stored too if it is kept.

    `labels` are names, `label_indices` their rows in the vocabulary; `extra` are a manifest's other columns.
    """
    # Imported here because the job's own process only needs `clip_id`, and no SciPy.
    from pemt_tf.features import numpy_ops, spectrogram

    log_mel = None
    if decoded.waveform is not None:
        # One segment at a time stays in the processor's cache: half the time of all at once.
        log_mel = np.stack([spectrogram.log_mel(segment, geometry, numpy_ops) for segment in decoded.waveform])
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
        waveform=decoded.waveform if keep_waveform else None,
        extra=extra,
    )

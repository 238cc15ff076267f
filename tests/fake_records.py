"""Clips of random content that need neither TensorFlow nor media files."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from pemt_tf.config import ClipGeometry
from pemt_tf.data.record_format import ClipRecord, serialize


def plain_clip(geometry: ClipGeometry, seed: int, video: bool = True, audio: bool = True, **fields) -> ClipRecord:
    """A clip of noise; `fields` replace what it would have."""
    rng = np.random.default_rng(seed)
    count = geometry.segments * geometry.frames_per_segment
    frames = rng.integers(0, 256, (count, 24, 32, 3), np.uint8)
    mel = rng.normal(-4, 2, (geometry.segments, geometry.mel_bins, geometry.mel_frames))
    usual = {
        "clip_id": f"clip-{seed}.mp4#0-2.5",
        "data_path": f"some/folder.with.dots/clip-{seed}.mp4",
        "start": 0.0,
        "end": 2.5,
        "jpegs": [_jpeg(frame) for frame in frames] if video else None,
        "image_times": [round(0.04 * number, 6) for number in range(count)] if video else [],
        "height": 24 * video,
        "width": 32 * video,
        "log_mel": mel.astype(np.float32) if audio else None,
        "labels": ("dog",),
        "label_indices": (1,),
    }
    return ClipRecord(**{**usual, **fields})


def _jpeg(frame: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(frame).save(file, "JPEG")
    return file.getvalue()


def plain_clips(geometry: ClipGeometry) -> list[ClipRecord]:
    """Six clips: an ordinary one, one each without video, audio, both and label, and one with all there can be."""
    samples = np.linspace(-1, 1, geometry.segments * geometry.samples_per_segment, dtype=np.float32)
    return [
        plain_clip(geometry, 0),
        plain_clip(geometry, 1, video=False),
        plain_clip(geometry, 2, audio=False),
        plain_clip(geometry, 3, video=False, audio=False),
        plain_clip(geometry, 4, labels=(), label_indices=()),
        plain_clip(
            geometry,
            5,
            clip_id="größer/ü.mp4",
            start=12.000001,
            end=99999.999999,
            labels=("dog", "cat"),
            label_indices=(1, 0),
            waveform=samples.reshape(geometry.segments, -1),
            extra=(("camera", "nörth"), ("note", 'a "quoted", long\ntext')),
        ),
    ]


def plain_records(geometry: ClipGeometry, payload: str = "example") -> list[bytes]:
    """`plain_clips` as records."""
    return [serialize(clip, geometry, payload) for clip in plain_clips(geometry)]

"""Turns a media file into a request: a record, or raw frames and audio. No TensorFlow is needed."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import simplejpeg

from pemt_tf.config import ClipGeometry
from pemt_tf.config.allowed_values import MODALITIES
from pemt_tf.data.clip_builder import build_clip
from pemt_tf.data.record_format import ClipRecord, serialize
from pemt_tf.errors import PemtError
from pemt_tf.files.names import readable
from pemt_tf.media.clip_decoder import DecodedClip, decode_clip
from pemt_tf.media.media_errors import MediaError


def record_of(
    path: str,
    geometry: ClipGeometry,
    start: float | None = None,
    end: float | None = None,
    modalities: tuple[str, ...] = MODALITIES,
) -> bytes:
    """Decodes a media file, or a stretch of it in seconds, into exactly the record that training would see.

    A file with none of `modalities`, those of the model, is refused: the model would return zeros.
    """
    decoded = decode_media(path, geometry, start, end)
    require_modality(path, decoded, modalities)
    return serialize(clip_of(path, decoded, geometry), geometry)


def require_modality(path: str, decoded: DecodedClip, modalities: tuple[str, ...]) -> None:
    """Raises PemtError unless a decoded file has one of the model's modalities."""
    has = {"visual": decoded.jpegs is not None, "audio": decoded.waveform is not None}
    if not any(has[modality] for modality in modalities):
        raise no_modality(path, modalities)


def no_modality(path: str, modalities: tuple[str, ...]) -> PemtError:
    """The error for a file that has none of the model's modalities."""
    return PemtError(f"{path} has none of the model's modalities ({', '.join(modalities)})")


def clip_of(path: str, decoded: DecodedClip, geometry: ClipGeometry) -> ClipRecord:
    """The record of a decoded media file; its id is the file's name."""
    return build_clip(decoded, geometry, readable(Path(path).name), readable(path))


def raw_media_of(
    path: str, geometry: ClipGeometry, start: float | None = None, end: float | None = None
) -> dict[str, np.ndarray]:
    """The same as raw media of one clip, without a modality that the file lacks.

    `frames` is [1, segments, frames, crop, crop, 3] uint8, cropped as for evaluation; `waveform` [1, segments, samples]
    float32.
    """
    decoded = decode_media(path, geometry, start, end)
    media = {}
    if decoded.jpegs is not None:
        # TensorFlow's decoder uses the fast transform too, so both kinds of request get the same prediction.
        plan = _test_crop(decoded.height, decoded.width, geometry.test_crop)
        frames = np.stack([simplejpeg.decode_jpeg(jpeg, "RGB", fastdct=True)[plan] for jpeg in decoded.jpegs])
        media["frames"] = frames.reshape(1, geometry.segments, geometry.frames_per_segment, *frames.shape[1:])
    if decoded.waveform is not None:
        media["waveform"] = np.asarray(decoded.waveform, np.float32)[None]
    return media


def _test_crop(height: int, width: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Source rows and columns of the test crop: `features.frame_crops.plan_test_crop` without TensorFlow."""
    short, long = min(height, width), max(height, width)
    scaled = long if short == size else int(np.floor(long / short * size))
    sizes = (scaled, size) if height > width else (size, scaled)

    def source(side: int, scaled: int) -> np.ndarray:
        first = (scaled - size + 1) // 2
        indices = np.arange(first, first + size)
        if scaled == side:
            return indices
        # In float32, as the graph does it.
        nearest = np.floor(indices.astype(np.float32) * (np.float32(side) / np.float32(scaled))).astype(np.int32)
        return np.minimum(nearest, side - 1)

    rows, columns = source(height, sizes[0]), source(width, sizes[1])
    return rows[:, None], columns


def decode_media(path: str, geometry: ClipGeometry, start: float | None, end: float | None) -> DecodedClip:
    """Decodes a media file, or a stretch of it in seconds."""
    if not os.path.exists(path):  # noqa: PTH110 - False also for a name that is too long
        raise PemtError(f"{path}: there is no such file")
    try:
        return decode_clip(path, geometry, start, end)
    except MediaError as error:
        raise PemtError(f"{path}: {error.cause}: {error.detail}") from None

"""Images inside a page: data URIs of JPEGs and of spectrograms."""

from __future__ import annotations

import base64
import functools
import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

SMALL_JPEG_QUALITIES = (80, 60, 40, 20)
SPECTROGRAM_PERCENTILES = (20.0, 99.7)  # of one clip's values: the darkest and the brightest colour
# One pixel for each of the 256 colours of Matplotlib's *magma* (van der Walt and Smith, public domain, CC0).
COLOURS = Path(__file__).with_name("magma.png")


def jpeg_uri(jpeg: bytes) -> str:
    """A JPEG as a data URI."""
    return _data_uri(jpeg, "image/jpeg")


def small_jpeg(jpeg: bytes, side: int, most_bytes: int) -> bytes:
    """The square in the middle of a JPEG, at most `side` pixels wide, see `encoded`."""
    return encoded(middle_square(jpeg, side), most_bytes)


def middle_square(jpeg: bytes, side: int) -> np.ndarray:
    """The square in the middle of a JPEG, [height, width, 3] uint8, reduced to `side` pixels but never enlarged."""
    with Image.open(io.BytesIO(jpeg)) as image:
        image.draft("RGB", (side, side))
        side = min(side, *image.size)
        return np.asarray(ImageOps.fit(image.convert("RGB"), (side, side), Image.Resampling.BOX))


def encoded(pixels: np.ndarray, most_bytes: int) -> bytes:
    """A JPEG of [height, width, 3] uint8: the best quality with at most `most_bytes`, or else the lowest."""
    content = b""
    for quality in SMALL_JPEG_QUALITIES:
        content = _saved(Image.fromarray(pixels), "JPEG", quality=quality)
        if len(content) <= most_bytes:
            break
    return content


def small_spectrogram(log_mel: np.ndarray, bins: int, frames: int) -> np.ndarray:
    """Averages neighbours in [segments, mel_bins, mel_frames], so that a segment has at most `bins` x `frames`."""
    height, width = min(bins, log_mel.shape[1]), min(frames, log_mel.shape[2])
    if (height, width) == log_mel.shape[1:]:
        return log_mel
    images = [Image.fromarray(np.asarray(segment, np.float32)) for segment in log_mel]
    return np.stack([np.asarray(image.resize((width, height), Image.Resampling.BOX)) for image in images])


def spectrogram_uris(log_mel: np.ndarray) -> list[str]:
    """PNG data URIs of the segments [segments, mel_bins, mel_frames], on one scale, low frequencies at the bottom."""
    return [_data_uri(palette_png(segment), "image/png") for segment in spectrogram_levels(log_mel)]


def spectrogram_levels(log_mel: np.ndarray) -> np.ndarray:
    """Indices into the colour map for a clip, [segments, mel_bins, mel_frames] uint8, high frequencies first."""
    finite = np.nan_to_num(np.asarray(log_mel, np.float64))
    low, high = np.percentile(finite, SPECTROGRAM_PERCENTILES)
    levels = np.clip((finite - low) / max(high - low, 1e-9), 0, 1)
    return np.round(levels * 255).astype(np.uint8)[:, ::-1]


def palette_png(indices: np.ndarray) -> bytes:
    """A PNG of colour-map indices, [height, width] uint8."""
    image = Image.fromarray(np.ascontiguousarray(indices))
    image.putpalette(palette().tobytes())
    return _saved(image, "PNG")


@functools.cache
def palette() -> np.ndarray:
    """The colours from the darkest to the brightest, [256, 3] uint8."""
    with Image.open(COLOURS) as image:
        return np.asarray(image.convert("RGB"))[0]


def _saved(image: Image.Image, kind: str, **options: int) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, optimize=True, **options)
    return file.getvalue()


def _data_uri(content: bytes, media_type: str) -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"

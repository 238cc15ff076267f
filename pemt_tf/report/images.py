"""Pictures inside the page: data URIs of JPEGs and of spectrograms."""

from __future__ import annotations

import base64
import struct
import zlib

import numpy as np
import simplejpeg

from pemt_tf.report.colour_map import palette

SMALL_JPEG_QUALITIES = (80, 60, 40, 20)
SPECTROGRAM_PERCENTILES = (20.0, 99.7)  # of one clip's values: the darkest and the brightest colour


def data_uri(content: bytes, media_type: str) -> str:
    """Bytes as an address that needs no file."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"


def jpeg_uri(jpeg: bytes) -> str:
    """A JPEG as a data URI."""
    return data_uri(jpeg, "image/jpeg")


def small_jpeg(jpeg: bytes, side: int, most_bytes: int) -> bytes:
    """The square in the middle of a JPEG, as small as a report with many pictures needs it.

    Args:
        jpeg: any JPEG.
        side: pixels, of the result; smaller pictures are not enlarged.
        most_bytes: quality is given up, down to a poor one, until the file is no larger.
    """
    return encoded(middle_square(jpeg, side), most_bytes)


def middle_square(jpeg: bytes, side: int) -> np.ndarray:
    """The square in the middle of a JPEG as [height, width, 3] uint8, at most `side` pixels high and wide."""
    pixels = simplejpeg.decode_jpeg(jpeg, min_height=side, min_width=side, min_factor=1)
    height, width = pixels.shape[:2]
    shorter = min(height, width)
    places = ((np.arange(min(side, shorter)) + 0.5) * max(shorter / side, 1)).astype(int)
    return pixels[np.ix_(places + (height - shorter) // 2, places + (width - shorter) // 2)]


def encoded(pixels: np.ndarray, most_bytes: int) -> bytes:
    """[height, width, 3] uint8 as a JPEG; quality is given up, down to a poor one, until it is no larger."""
    for quality in SMALL_JPEG_QUALITIES:
        small = simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality=quality, colorsubsampling="420")
        if len(small) <= most_bytes:
            break
    return small


def small_spectrogram(log_mel: np.ndarray, bins: int, frames: int) -> np.ndarray:
    """Means over neighbouring values, so that no segment has more than `bins` x `frames` of them.

    Args:
        log_mel: [segments, mel_bins, mel_frames] float.
        bins, frames: the most to keep.
    """
    for axis, most in ((1, bins), (2, frames)):
        size = log_mel.shape[axis]
        if size > most:
            starts = np.arange(most) * size // most
            counts = np.diff(np.append(starts, size))
            log_mel = np.add.reduceat(log_mel, starts, axis) / np.expand_dims(counts, (0, 3 - axis))
    return log_mel


def spectrogram_uris(log_mel: np.ndarray) -> list[str]:
    """Draws the segments of one clip, all on the same scale, low frequencies at the bottom.

    Args:
        log_mel: [segments, mel_bins, mel_frames] float, natural-log mel power.

    Returns:
        One PNG data URI per segment.
    """
    return [data_uri(palette_png(segment), "image/png") for segment in spectrogram_levels(log_mel)]


def spectrogram_levels(log_mel: np.ndarray) -> np.ndarray:
    """Places in the colour map for a clip, [segments, mel_bins, mel_frames] uint8, high tones first."""
    finite = np.nan_to_num(np.asarray(log_mel, np.float64))
    low, high = np.percentile(finite, SPECTROGRAM_PERCENTILES)
    levels = np.clip((finite - low) / max(high - low, 1e-9), 0, 1)
    return np.round(levels * 255).astype(np.uint8)[:, ::-1]


def palette_png(indices: np.ndarray) -> bytes:
    """Encodes a picture of colour-map indices as a PNG (ISO/IEC 15948), 8 bits with a palette.

    Args:
        indices: [height, width] uint8.
    """
    height, width = indices.shape
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)  # 8 bits, palette, not interlaced
    rows = np.concatenate([np.zeros((height, 1), np.uint8), indices], axis=1)  # each row begins with filter 0, none
    chunks = [
        (b"IHDR", header),
        (b"PLTE", palette().tobytes()),
        (b"IDAT", zlib.compress(rows.tobytes(), 9)),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        for name, content in chunks
    )

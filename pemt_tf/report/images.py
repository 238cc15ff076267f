"""Pictures inside the page: data URIs of JPEGs and of spectrograms."""

from __future__ import annotations

import base64
import functools
import struct
import zlib

import numpy as np

COLOUR_MAP = "magma"
SPECTROGRAM_PERCENTILES = (20.0, 99.7)  # of one clip's values: the darkest and the brightest colour


def data_uri(content: bytes, media_type: str) -> str:
    """Bytes as an address that needs no file."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"


def jpeg_uri(jpeg: bytes) -> str:
    """A JPEG as a data URI."""
    return data_uri(jpeg, "image/jpeg")


def spectrogram_uris(log_mel: np.ndarray) -> list[str]:
    """Draws the segments of one clip, all on the same scale, low frequencies at the bottom.

    Args:
        log_mel: [segments, mel_bins, mel_frames] float, natural-log mel power.

    Returns:
        One PNG data URI per segment.
    """
    finite = np.nan_to_num(np.asarray(log_mel, np.float64))
    low, high = np.percentile(finite, SPECTROGRAM_PERCENTILES)
    levels = np.clip((finite - low) / max(high - low, 1e-9), 0, 1)
    return [data_uri(palette_png(segment[::-1]), "image/png") for segment in np.round(levels * 255).astype(np.uint8)]


def palette_png(indices: np.ndarray) -> bytes:
    """Encodes a picture of colour-map indices as a PNG (ISO/IEC 15948), 8 bits with a palette.

    Args:
        indices: [height, width] uint8.
    """
    height, width = indices.shape
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)  # 8 bits, palette, not interlaced
    rows = np.concatenate([np.zeros((height, 1), np.uint8), indices], axis=1)  # each row begins with filter 0, none
    chunks = [(b"IHDR", header), (b"PLTE", _palette()), (b"IDAT", zlib.compress(rows.tobytes(), 9)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        for name, content in chunks
    )


@functools.cache
def _palette() -> bytes:
    import matplotlib

    colours = matplotlib.colormaps[COLOUR_MAP](np.arange(256))[:, :3]
    return np.round(colours * 255).astype(np.uint8).tobytes()

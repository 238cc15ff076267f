"""What decoding takes and gives: its settings, a decoded clip, and what is measured in it. NumPy only.

Loudness, motion and brightness show clips without content; hashes find near-duplicates. Both hashes are the signs of a
two-dimensional discrete cosine transform: the coarse structure of a frame or a spectrogram survives encoding, scaling,
changes of brightness and of gain. The mean is left out, and so are coefficients too small to mean anything: content
without structure (black frames, silence) hashes to zeros.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

import numpy as np

HASH_BYTES = 8  # per segment
SILENT_BELOW_DB = -60.0  # RMS, dB of full scale
FROZEN_BELOW = 0.2  # grey levels of 255 by which a pixel differs from one kept frame to the next, on average
QUIETEST_DB = -120.0  # what digital silence counts as
THUMB_SIDE = 24  # pixels; motion and brightness are measured on about that many rows
HASHED_SIDE = 80  # pixels; about that many rows are enough for a hash, and so few start no threads in NumPy
_SMALLEST_FRAME_COEFFICIENT = 0.25  # grey levels
_SMALLEST_MEL_COEFFICIENT = 0.02  # nepers of power
_DYNAMIC_RANGE = 8.0  # nepers of power below a segment's peak; anything weaker comes mostly from the codec


@dataclass(frozen=True)
class DecodeSettings:
    """How to decode. Streams count from 0 among those of their kind, without cover art; None takes the default one."""

    video_stream: int | None = None
    audio_stream: int | None = None
    jpeg_quality: int = 95  # 1 to 100

    def __post_init__(self) -> None:
        for name in ("video_stream", "audio_stream"):
            number = getattr(self, name)
            if number is not None and number < 0:
                raise ValueError(f"{name} is {number}; streams are counted from 0")
        if not 1 <= self.jpeg_quality <= 100:
            raise ValueError(f"jpeg_quality is {self.jpeg_quality}; it goes from 1 to 100")


@dataclass(frozen=True)
class SourceInfo:
    """The file that a clip is from; fields of a stream that is not there are 0 or empty."""

    duration: float = 0.0  # seconds
    frame_rate: float = 0.0  # frames per second on average
    width: int = 0  # size of the upright frames before scaling, pixels
    height: int = 0
    video_codec: str = ""  # FFmpeg's name
    audio_codec: str = ""
    sample_rate: int = 0  # Hz
    channels: int = 0


@dataclass(frozen=True)
class ClipContent:
    """What was measured in a clip; None without the modality."""

    loudness_db: float | None = None  # root mean square of all segments' samples, dB of full scale
    peak_db: float | None = None  # largest sample, dB of full scale
    motion: float | None = None  # mean absolute difference of luma between a segment's frames; None with one frame
    brightness: float | None = None  # mean luma, 0 to 255
    picture_hash: bytes | None = None  # `HASH_BYTES` a segment, see `picture_hash`


@dataclass(frozen=True)
class FailedWindow:
    """A window of a file, seconds from the container's start, that could not be decoded, and its `MediaError`."""

    start: float
    end: float
    cause: str
    detail: str


@dataclass(frozen=True)
class DecodedClip:
    """One clip, decoded."""

    start: float  # range of the file that the clip covers, seconds from the container's start
    end: float
    jpegs: list[bytes] | None  # segments x frames, row-major, all height x width pixels; None without video
    image_times: list[float]  # when the frame of each JPEG is first shown, seconds
    height: int  # size of the JPEGs, pixels; 0 without video
    width: int
    waveform: np.ndarray | None  # [segments, samples_per_segment] float32, mono, full scale 1; None without audio
    notes: tuple[str, ...] = ()  # what is unusual about the file, one sentence each
    content: ClipContent = field(default_factory=ClipContent)
    source: SourceInfo = field(default_factory=SourceInfo)


class Thumb(NamedTuple):
    """Some pixels of a frame, evenly spread: [rows, columns] int16 luma, and their mean."""

    luma: np.ndarray
    mean: float


def thumb(luma: np.ndarray) -> Thumb:
    """About `THUMB_SIDE` rows of a frame's luma, [height, width] uint8."""
    step = max(1, min(luma.shape) // THUMB_SIDE)
    small = luma[::step, ::step].astype(np.int16)
    return Thumb(small, float(small.sum()) / small.size)


class FrameMeter:
    """Takes the frames of a clip, each segment's in order of time; measures motion and brightness, and hashes.

    `frames` is the number of frames of a segment.
    """

    def __init__(self, frames: int) -> None:
        self._frames = frames
        self._previous: dict[int, Thumb] = {}
        self._hashes: dict[int, bytes] = {}
        self._motion, self._steps = 0.0, 0
        self._brightness, self._count = 0.0, 0

    def add(self, place: int, luma: np.ndarray, small: Thumb) -> None:
        """Takes the frame of one place in the clip, counted over segments x frames."""
        segment, frame = divmod(place, self._frames)
        before = self._previous.get(segment)
        self._previous[segment] = small
        if before is not None:
            self._steps += 1
            if before is not small:
                self._motion += float(np.abs(small.luma - before.luma).sum()) / small.luma.size
        self._brightness += small.mean
        self._count += 1
        if frame == self._frames // 2:
            self._hashes[segment] = picture_hash(luma)

    def results(self) -> ClipContent:
        """What was measured; None in the fields about audio."""
        return ClipContent(
            motion=self._motion / self._steps if self._steps else None,
            brightness=self._brightness / self._count if self._count else None,
            picture_hash=b"".join(self._hashes[segment] for segment in sorted(self._hashes)) or None,
        )


def is_silent(content: ClipContent) -> bool:
    """Whether there is audio in which nothing can be heard."""
    return content.loudness_db is not None and content.loudness_db < SILENT_BELOW_DB


def is_frozen(content: ClipContent) -> bool:
    """Whether there is video that does not move."""
    return content.motion is not None and content.motion < FROZEN_BELOW


def levels(waveform: np.ndarray) -> tuple[float, float]:
    """Loudness and peak of a waveform, full scale 1: both in dB, not below `QUIETEST_DB`."""
    flat = waveform.ravel()
    power = float(np.einsum("i,i->", flat, flat)) / max(len(flat), 1)  # unlike a dot product, it starts no threads
    peak = max(float(flat.max(initial=0.0)), -float(flat.min(initial=0.0)))
    loudness_db, peak_db = (max(10 * np.log10(x) if x > 0 else QUIETEST_DB, QUIETEST_DB) for x in (power, peak**2))
    return loudness_db, peak_db


def picture_hash(luma: np.ndarray) -> bytes:
    """The perceptual hash of one frame, [height, width] uint8: `HASH_BYTES` bytes; zeros where it has no structure."""
    step = max(1, min(luma.shape) // HASHED_SIDE)
    return _hash(luma[::step, ::step].astype(np.float32), _SMALLEST_FRAME_COEFFICIENT)


def sound_hash(log_mel: np.ndarray) -> bytes:
    """The perceptual hash of a clip's audio: `HASH_BYTES` bytes a segment; zeros where it has no structure (silence).

    `log_mel` is [segments, mel_bins, mel_frames], natural log of mel power.
    """
    floor = log_mel.max(axis=(1, 2), keepdims=True) - _DYNAMIC_RANGE
    return b"".join(_hash(segment, _SMALLEST_MEL_COEFFICIENT) for segment in np.maximum(log_mel, floor))


def hash_distance(first: bytes, second: bytes) -> float:
    """Share of the bits of two equally long hashes that differ, 0 to 1; about 0.5 for unrelated content."""
    if len(first) != len(second):
        raise ValueError(f"hashes of {len(first)} and {len(second)} bytes cannot be compared")
    if not first:
        return 0.0
    differing = np.frombuffer(first, np.uint8) ^ np.frombuffer(second, np.uint8)
    return float(np.unpackbits(differing).mean())


def _hash(values: np.ndarray, smallest: float) -> bytes:
    rows, columns = _cosines(values.shape[0]), _cosines(values.shape[1])
    spectrum = (rows @ values @ columns.T)[_LOWEST]
    median = np.sort(spectrum)[len(spectrum) // 2]
    return np.packbits((spectrum >= median) & (np.abs(spectrum) > smallest)).tobytes()


# Rows and columns of the 64 lowest frequencies without the mean, in zigzag order.
_PLACES = sorted(((i, j) for i in range(11) for j in range(11) if i + j), key=lambda place: (sum(place), place))
_LOWEST = tuple(np.array(_PLACES[: 8 * HASH_BYTES]).T)


@lru_cache(maxsize=64)
def _cosines(count: int) -> np.ndarray:
    """[11, count] float32: rows whose product with a signal is its cosine coefficient, in the signal's unit."""
    phase = np.pi * (np.arange(count) + 0.5) / count
    return (np.cos(np.outer(np.arange(11), phase)) * (np.sqrt(2) / count)).astype(np.float32)

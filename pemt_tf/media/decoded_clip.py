"""Settings of decoding, and its results."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from pemt_tf.media.content import ClipContent

__all__ = ["ClipContent", "DecodeSettings", "DecodedClip", "FailedWindow", "SourceInfo"]


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
    width: int = 0  # of the upright frames before scaling, pixels
    height: int = 0
    video_codec: str = ""  # FFmpeg's name
    audio_codec: str = ""
    sample_rate: int = 0  # Hz
    channels: int = 0


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
    height: int  # of the JPEGs, pixels; 0 without video
    width: int
    waveform: np.ndarray | None  # [segments, samples_per_segment] float32, mono, full scale 1; None without audio
    notes: tuple[str, ...] = ()  # what is unusual about the file, one sentence each
    content: ClipContent = field(default_factory=ClipContent)
    source: SourceInfo = field(default_factory=SourceInfo)

"""Settings of decoding, and its results."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from pemt_tf.media.content import ClipContent

__all__ = ["ClipContent", "DecodeSettings", "DecodedClip", "FailedWindow", "SourceInfo"]


@dataclass(frozen=True)
class DecodeSettings:
    """How to decode.

    Attributes:
        video_stream, audio_stream: number among the video streams (cover art does not count) and among the audio
            streams, from 0; None takes the file's default.
        jpeg_quality: 1 to 100.
    """

    video_stream: int | None = None
    audio_stream: int | None = None
    jpeg_quality: int = 95

    def __post_init__(self) -> None:
        for name in ("video_stream", "audio_stream"):
            number = getattr(self, name)
            if number is not None and number < 0:
                raise ValueError(f"{name} is {number}; streams are counted from 0")
        if not 1 <= self.jpeg_quality <= 100:
            raise ValueError(f"jpeg_quality is {self.jpeg_quality}; it goes from 1 to 100")


@dataclass(frozen=True)
class SourceInfo:
    """The file that a clip is from.

    Attributes:
        duration: seconds.
        frame_rate: frames per second on average; 0 without video.
        width, height: size of the upright frames before scaling, pixels; 0 without video.
        video_codec, audio_codec: FFmpeg's names; empty where there is no such stream.
        sample_rate: Hz; 0 without audio.
        channels: number of audio channels; 0 without audio.
    """

    duration: float = 0.0
    frame_rate: float = 0.0
    width: int = 0
    height: int = 0
    video_codec: str = ""
    audio_codec: str = ""
    sample_rate: int = 0
    channels: int = 0


@dataclass(frozen=True)
class FailedWindow:
    """A window of a file that could not be decoded.

    Attributes:
        start, end: seconds from the container's start.
        cause, detail: those of its `MediaError`.
    """

    start: float
    end: float
    cause: str
    detail: str


@dataclass(frozen=True)
class DecodedClip:
    """One clip, decoded.

    Attributes:
        start, end: range of the file that the clip covers, seconds from the container's start.
        jpegs: segments x frames JPEGs, row-major, all height x width pixels; None without video.
        image_times: when the frame of each JPEG is first shown, seconds.
        height, width: size of the JPEGs, pixels; 0 without video.
        waveform: [segments, samples_per_segment] float32, mono, full scale 1; None without audio.
        notes: what is unusual about the file, one sentence each.
        content: loudness, motion and the like.
        source: the file that the clip is from.
    """

    start: float
    end: float
    jpegs: list[bytes] | None
    image_times: list[float]
    height: int
    width: int
    waveform: np.ndarray | None
    notes: tuple[str, ...] = ()
    content: ClipContent = field(default_factory=ClipContent)
    source: SourceInfo = field(default_factory=SourceInfo)

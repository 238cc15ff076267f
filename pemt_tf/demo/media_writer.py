"""Writes media files with PyAV: several containers, video codecs and audio codecs."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

VIDEO_BITS, AUDIO_BITS = 220_000, 64_000  # per second


@dataclass(frozen=True)
class MediaFormat:
    """A container with its codecs, as they occur in archives."""

    suffix: str  # decides the container
    video_codec: str  # FFmpeg's encoder name
    audio_codec: str  # FFmpeg's encoder name
    sample_rates: tuple[int, ...]  # that the audio codec accepts, Hz
    video_options: tuple[tuple[str, str], ...] = ()  # fast rather than small: clips last a few seconds


_X264 = (("preset", "ultrafast"), ("crf", "22"))
_VP9 = (("deadline", "realtime"), ("cpu-used", "8"), ("lag-in-frames", "0"))
FORMATS = (
    MediaFormat("mp4", "libx264", "aac", (16_000, 22_050, 44_100, 48_000), _X264),
    MediaFormat("webm", "libvpx-vp9", "libopus", (48_000,), _VP9),
    MediaFormat("avi", "mpeg4", "libmp3lame", (22_050, 44_100, 48_000)),
    MediaFormat("mkv", "libx264", "ac3", (32_000, 44_100, 48_000), _X264),
)


def write_media(
    path: Path,
    media_format: MediaFormat,
    frames: np.ndarray,
    frame_rate: Fraction,
    sound: np.ndarray | None,
    sample_rate: int,
) -> None:
    """Encodes one file; the same input gives the same bytes.

    Args:
        path: file with the suffix of the format.
        frames: [frames, height, width, 3] uint8 RGB, even sizes.
        sound: [channels, samples] float32, or None for a file without an audio stream.
    """
    import av

    # bitexact: no random identifiers, no dates, so that a corpus is a function of its seed.
    with av.open(str(path), "w", container_options={"fflags": "+bitexact"}) as container:
        video = _add_video_stream(container, media_format, frames, frame_rate)
        audio = None if sound is None else _add_audio_stream(container, media_format, sound.shape[0], sample_rate)
        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format="yuv420p", threads=1)
            frame.pts, frame.time_base = number, 1 / frame_rate
            container.mux(video.encode(frame))
        if audio is not None and sound is not None:
            _encode_sound(container, audio, sound, sample_rate)
        container.mux(video.encode(None))


def _add_video_stream(container, media_format: MediaFormat, frames: np.ndarray, frame_rate: Fraction):
    stream = container.add_stream(media_format.video_codec, rate=frame_rate, options=dict(media_format.video_options))
    stream.height, stream.width = frames.shape[1:3]
    stream.pix_fmt = "yuv420p"
    stream.bit_rate = VIDEO_BITS
    stream.codec_context.thread_count = 1
    return stream


def _add_audio_stream(container, media_format: MediaFormat, channels: int, sample_rate: int):
    layout = "mono" if channels == 1 else "stereo"
    stream = container.add_stream(media_format.audio_codec, rate=sample_rate, layout=layout)
    stream.bit_rate = AUDIO_BITS
    return stream


def _encode_sound(container, stream, sound: np.ndarray, sample_rate: int) -> None:
    """Encodes the whole waveform; the resampler converts it to the codec's sample format and frame size."""
    import av

    context = stream.codec_context
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound), format="fltp", layout=context.layout.name)
    frame.sample_rate, frame.pts, frame.time_base = sample_rate, 0, Fraction(1, sample_rate)
    context.open(strict=False)  # the frame size is known only then
    resampler = av.AudioResampler(context.format.name, context.layout.name, sample_rate, context.frame_size or None)
    for piece in [*resampler.resample(frame), *resampler.resample(None)]:
        container.mux(stream.encode(piece))
    container.mux(stream.encode(None))

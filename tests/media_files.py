"""Makes small real media files with PyAV, sound ones and broken ones.

Pictures carry their frame number as twelve black or white blocks (4 x 3), which survive any codec and any scaling; so
a test can read from a decoded picture which frame it was.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

PictureMaker = Callable[[int, int, int], np.ndarray]
ToneMaker = Callable[[np.ndarray], np.ndarray]

NUMBER_ROWS, NUMBER_COLUMNS = 3, 4
# container suffix: (video codec, audio codec)
USUAL_CODECS = {
    ".mp4": ("libx264", "aac"),
    ".mov": ("libx264", "pcm_s16le"),
    ".mkv": ("libx264", "libopus"),
    ".webm": ("libvpx-vp9", "libopus"),
    ".avi": ("mpeg4", "libmp3lame"),
    ".ts": ("libx264", "aac"),
    ".mpg": ("mpeg2video", "mp2"),
    ".asf": ("msmpeg4", "libmp3lame"),
}
QUICK_OPTIONS = {
    "libx264": {"preset": "ultrafast", "crf": "18"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8", "crf": "20", "b:v": "0"},
    "mpeg4": {"qscale": "2"},
}


def numbered_picture(number: int, height: int, width: int) -> np.ndarray:
    """Frame number in binary, most significant bit first.

    Returns:
        [height, width, 3] uint8.
    """
    bits = [(number >> bit) & 1 for bit in reversed(range(NUMBER_ROWS * NUMBER_COLUMNS))]
    blocks = np.array(bits, np.uint8).reshape(NUMBER_ROWS, NUMBER_COLUMNS) * 235 + 10
    rows = np.arange(height) * NUMBER_ROWS // height
    columns = np.arange(width) * NUMBER_COLUMNS // width
    return np.repeat(blocks[np.ix_(rows, columns)][..., None], 3, axis=-1)


def read_number(picture: np.ndarray) -> int:
    """Reads what `numbered_picture` wrote from a picture of any size, [height, width, 3] or [height, width]."""
    gray = picture if picture.ndim == 2 else picture.mean(axis=-1)
    height, width = gray.shape
    number = 0
    for row in range(NUMBER_ROWS):
        for column in range(NUMBER_COLUMNS):
            middle = gray[int((row + 0.5) * height / NUMBER_ROWS), int((column + 0.5) * width / NUMBER_COLUMNS)]
            number = number * 2 + int(middle > 128)
    return number


def sine(frequency: float = 440.0, amplitude: float = 0.5) -> ToneMaker:
    """A tone from the file's start on."""
    return lambda seconds: amplitude * np.sin(2 * np.pi * frequency * seconds)


def write_video(
    path: Path,
    *,
    video_codec: str | None = "usual",
    audio_codec: str | None = "usual",
    fps: float = 25.0,
    size: tuple[int, int] = (64, 48),
    seconds: float = 2.0,
    picture: PictureMaker = numbered_picture,
    tone: ToneMaker | None = None,
    sample_rate: int = 48_000,
    layout: str = "mono",
    video_start: float = 0.0,
    audio_start: float = 0.0,
    audio_seconds: float | None = None,
    aspect: Fraction | None = None,
    key_every: int = 12,
    pixel_format: str = "yuv420p",
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
) -> Path:
    """Writes a media file; the suffix says which container.

    Args:
        path: where to.
        video_codec, audio_codec: FFmpeg encoders; None leaves the stream out, `usual` goes by the container.
        fps: frames per second.
        size: width and height, pixels.
        seconds: length of the pictures, and of the sound unless `audio_seconds` is given.
        picture: (frame number, height, width) -> RGB.
        tone: times in seconds (of the file, not of the stream) -> samples in -1 to 1.
        sample_rate, layout: of the sound.
        video_start, audio_start: first timestamps, seconds.
        aspect: sample aspect ratio.
        key_every: frames from one keyframe to the next.
        pixel_format: of the pictures.
        options: of the video encoder, beside the quick ones.
        container_options: of FFmpeg's writer.
    """
    usual_video, usual_audio = USUAL_CODECS[path.suffix]
    video_codec = usual_video if video_codec == "usual" else video_codec
    audio_codec = usual_audio if audio_codec == "usual" else audio_codec
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options=container_options or {}) as container:
        packets = []
        if video_codec:
            rate = Fraction(fps).limit_denominator(1001)
            stream = container.add_stream(video_codec, rate=rate)
            stream.width, stream.height = size
            stream.pix_fmt = pixel_format
            stream.gop_size = key_every
            stream.options = {**QUICK_OPTIONS.get(video_codec, {}), **(options or {})}
            if aspect:
                stream.codec_context.sample_aspect_ratio = aspect
            packets.append((stream, _pictures(stream, rate, round(seconds * fps), picture, video_start)))
        if audio_codec:
            stream = container.add_stream(audio_codec, rate=sample_rate, layout=layout)
            length = seconds if audio_seconds is None else audio_seconds
            packets.append((stream, _sounds(sample_rate, layout, length, tone or sine(), audio_start)))
        _mux_by_time(container, packets)
    return path


def _pictures(stream, rate: Fraction, count: int, picture: PictureMaker, start: float):
    for number in range(count):
        frame = av.VideoFrame.from_ndarray(picture(number, stream.height, stream.width), format="rgb24")
        frame.time_base = Fraction(1, 90_000)
        frame.pts = round((start + number / rate) * 90_000)
        yield float(frame.pts) / 90_000, frame


def _sounds(rate: int, layout: str, seconds: float, tone: ToneMaker, start: float):
    channels = av.AudioLayout(layout).nb_channels
    first, total, block = round(start * rate), round(seconds * rate), 1024
    for position in range(0, total, block):
        moments = (first + np.arange(position, min(position + block, total))) / rate
        samples = np.tile(tone(moments).astype(np.float32), (channels, 1))
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout=layout)
        frame.sample_rate = rate
        frame.time_base = Fraction(1, rate)
        frame.pts = first + position
        yield moments[0], frame


def _mux_by_time(container, sources: list) -> None:
    """Encodes the frame that comes first of all streams, so that packets lie as players expect them."""
    waiting = [(stream, frames, next(frames, None)) for stream, frames in sources]
    while waiting := [entry for entry in waiting if entry[2] is not None]:
        waiting.sort(key=lambda entry: entry[2][0])
        stream, frames, (_, frame) = waiting[0]
        container.mux(stream.encode(frame))
        waiting[0] = (stream, frames, next(frames, None))
    for stream, _ in sources:
        container.mux(stream.encode(None))


def turn(path: Path, matrix: tuple[int, int, int, int]) -> Path:
    """Writes a display matrix (a, b, c, d) into the first track header of an mp4 file.

    A pixel (x, y) is to be shown at (a x + c y, b x + d y).
    """
    data = bytearray(path.read_bytes())
    place = data.index(b"tkhd") + 4 + 40
    a, b, c, d = (value * 65536 for value in matrix)
    data[place : place + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path


def cut(path: Path, fraction: float) -> Path:
    """Keeps only the first part of a file."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * fraction)])
    return path


def damage(path: Path, start: float, end: float, seed: int = 0) -> Path:
    """Overwrites a stretch of a file, given as fractions of its length, with noise."""
    data = bytearray(path.read_bytes())
    first, last = int(len(data) * start), int(len(data) * end)
    data[first:last] = np.random.default_rng(seed).bytes(last - first)
    path.write_bytes(data)
    return path


def not_media(path: Path) -> Path:
    """A text file under a video's name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("this is not a video\n" * 50, encoding="utf-8")
    return path


def write_parted(path: Path, starts: list[float], seconds: float, fps: int = 25, size: tuple[int, int] = (64, 48)):
    """Writes pictures in parts of `seconds` that begin at `starts`; their numbers go on from part to part."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.options = {"preset": "ultrafast", "tune": "zerolatency"}
        for number in range(round(seconds * fps) * len(starts)):
            part, place = divmod(number, round(seconds * fps))
            frame = av.VideoFrame.from_ndarray(numbered_picture(number, *size[::-1]), format="rgb24")
            frame.pts, frame.time_base = round((starts[part] + place / fps) * 90_000), Fraction(1, 90_000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write_frames(path: Path, frames: list[av.VideoFrame], codec: str, fps: int = 10, **options: str) -> Path:
    """Encodes ready frames, one after the other; size, format and colour tags are those of the first."""
    first = frames[0]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps)
        stream.width, stream.height, stream.pix_fmt = first.width, first.height, first.format.name
        stream.options = {**QUICK_OPTIONS.get(codec, {}), **options}
        for name in ("color_trc", "color_primaries", "colorspace", "color_range"):
            setattr(stream.codec_context, name, getattr(first, name))
        for number, frame in enumerate(frames):
            frame.pts, frame.time_base = number, Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write_streams(
    path: Path, pictures: list[PictureMaker], tones: list[ToneMaker], default: int = 0, seconds: float = 2.0
) -> Path:
    """Writes a file with several streams of pictures (25 a second) and of sound; `default` is flagged in each kind."""
    disposition = av.stream.Disposition
    with av.open(str(path), "w") as container:
        sources = []
        for number, picture in enumerate(pictures):
            stream = container.add_stream("libx264", rate=25)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            stream.options = QUICK_OPTIONS["libx264"]
            stream.disposition = disposition.default if number == default else disposition(0)
            sources.append((stream, _pictures(stream, Fraction(25), round(25 * seconds), picture, 0.0)))
        for number, tone in enumerate(tones):
            stream = container.add_stream("pcm_s16le", rate=16_000, layout="mono")
            stream.disposition = disposition.default if number == default else disposition(0)
            sources.append((stream, _sounds(16_000, "mono", seconds, tone, 0.0)))
        _mux_by_time(container, sources)
    return path


def edit(path: Path, start: float, seconds: float) -> Path:
    """Makes the edit list of an mp4 file's first track show only `seconds` from `start` on."""
    data = bytearray(path.read_bytes())
    movie, track = (_timescale(data, name) for name in (b"mvhd", b"mdhd"))
    place = data.index(b"elst") + 4
    assert data[place : place + 8] == struct.pack(">2I", 0, 1), "expected one entry of version 0"
    data[place + 8 : place + 16] = struct.pack(">2I", round(seconds * movie), round(start * track))
    path.write_bytes(data)
    return path


def _timescale(data: bytes, box: bytes) -> int:
    place = data.index(box) + 4
    assert data[place] == 0, "expected version 0"
    return struct.unpack(">I", data[place + 12 : place + 16])[0]


def write_floats(path: Path, samples: np.ndarray, codec: str = "pcm_f32le", rate: int = 16_000) -> Path:
    """Writes mono sound exactly as given, [samples] float32 or float64; the suffix says which container."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, layout="mono")
        kind = "dbl" if "f64" in codec else "flt"
        stream.format = kind
        values = np.ascontiguousarray(samples, np.float64 if kind == "dbl" else np.float32)
        for first in range(0, len(values), 1024):
            frame = av.AudioFrame.from_ndarray(values[None, first : first + 1024], format=kind, layout="mono")
            frame.sample_rate, frame.pts = rate, first
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path

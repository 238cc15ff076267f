"""The floor under data preparation: what the work itself costs, in bare PyAV and NumPy loops.

    python benchmarks/preprocess_floor.py --preset avbert_base FILE ...

Per file: decode, scale the wanted pictures, JPEG, resample, log-mel, append everything to one file. It does what
`python -m beam_jobs.preprocess` does with a healthy file, and nothing else: no check, no cause of failure, no
expendable process, no records. It believes the header's duration and every timestamp, takes the first stream of
each kind, and cannot turn pictures. One thread does it all; a picture that no moment wants is never scaled, and one
that many moments want is compressed once. Prints one line of JSON: clips, pictures and seconds.
"""

from __future__ import annotations

import argparse
import bisect
import functools
import json
import tempfile

import av
import numpy as np
import scipy.fft
import simplejpeg
from av.container import InputContainer
from av.video.plane import VideoPlane
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

from pemt_tf.config import ClipGeometry, Config

SCALING = int(Interpolation.AREA) | 0x40000  # SWS_ACCURATE_RND, as the job has it
JPEG_QUALITY = 95
UNSPECIFIED, HIGH_DEFINITION_HEIGHT = 2, 720


def length(container: InputContainer, base: float) -> float:
    """Seconds from the container's start: by the header, or by the packets where it does not say."""
    streams = [*container.streams.video[:1], *container.streams.audio[:1]]
    known = [float(stream.duration * stream.time_base) for stream in streams if stream.duration]
    if known:
        return known[0]
    if container.duration:
        return container.duration / av.time_base
    packets = container.demux(streams[0])
    end = max((packet.pts + (packet.duration or 0) for packet in packets if packet.pts is not None), default=0)
    container.seek(0)
    return float(end * streams[0].time_base) - base


def convert(path: str, geometry: ClipGeometry, output) -> tuple[int, float]:
    """One file: writes its JPEGs and its log-mel; returns the pictures made and the seconds of the clip."""
    with av.open(path, metadata_errors="ignore") as container:
        base = (container.start_time or 0) / av.time_base
        seconds = length(container, base)
        free = max(seconds - geometry.segment_seconds, 0.0)
        starts = [free * number / max(geometry.segments - 1, 1) for number in range(geometry.segments)]
        frames = [frame / geometry.frame_rate for frame in range(geometry.frames_per_segment)]
        moments = sorted(start + frame for start in starts for frame in frames)
        video = next(iter(container.streams.video), None)
        audio = next(iter(container.streams.audio), None)
        pictures = Pictures(video, moments, base, geometry.stored_short_side) if video else None
        if pictures and "avi" in container.format.name:
            pictures.clock = "dts"  # AVI stores no presentation times
        sound = Sound(audio, base, seconds, geometry) if audio else None
        for packet in container.demux([stream for stream in (video, audio) if stream]):
            if pictures and packet.stream is video:
                pictures.feed(packet)
            elif sound:
                sound.feed(packet)
        if pictures:
            pictures.finish()
            output.writelines(pictures.jpegs)
        if sound:
            output.write(log_mel(sound.segments(starts), geometry).tobytes())
        return pictures.made if pictures else 0, seconds


class Pictures:
    """Decodes every packet; scales and compresses a picture only where a wanted moment saw it."""

    def __init__(self, stream: av.VideoStream, moments: list[float], base: float, short_side: int) -> None:
        stream.codec_context.thread_count = 1
        self._context = stream.codec_context
        self._unit, self._base = float(stream.time_base or 0), base
        self._moments, self._next, self._held = moments, 0, None
        self._scaler = VideoReformatter()
        aspect = float(stream.sample_aspect_ratio or 1)
        scale = short_side / min(stream.height, stream.width * aspect)
        self._width, self._height = (
            max(2, 2 * round(side * scale / 2)) for side in (stream.width * aspect, stream.height)
        )
        self.jpegs: list[bytes] = []
        self.made = 0
        self.clock = "pts"

    def feed(self, packet: av.Packet) -> None:
        if self._next == len(self._moments):
            return
        for frame in self._context.decode(packet):
            stamp = getattr(frame, self.clock) or 0
            self._show(bisect.bisect_left(self._moments, stamp * self._unit - self._base - 1e-3))
            self._held = frame

    def finish(self) -> None:
        self._show(len(self._moments))

    def _matrix(self, frame: av.VideoFrame) -> Colorspace | None:
        """The colour matrix of untagged pictures; None goes by the tag."""
        if frame.colorspace != UNSPECIFIED:
            return None
        return Colorspace.ITU709 if frame.height >= HIGH_DEFINITION_HEIGHT else Colorspace.ITU601

    def _show(self, until: int) -> None:
        if self._held is None or until <= self._next:
            return
        small = self._scaler.reformat(
            self._held,
            width=self._width,
            height=self._height,
            format="yuvj420p",
            src_colorspace=self._matrix(self._held),
            dst_colorspace=Colorspace.ITU601,
            dst_color_range=ColorRange.JPEG,
            interpolation=SCALING,
            threads=1,
        )
        planes = [
            np.ascontiguousarray(_bytes_of(plane).reshape(-1, plane.line_size)[:, : plane.width])
            for plane in small.planes
        ]
        self.jpegs += [simplejpeg.encode_jpeg_yuv_planes(*planes, quality=JPEG_QUALITY)] * (until - self._next)
        self._next = until
        self.made += 1


def _bytes_of(plane: VideoPlane) -> np.ndarray:
    return np.frombuffer(plane, np.uint8)  # pyright: ignore[reportCallIssue, reportArgumentType]: a buffer, not typed as one


class Sound:
    """Decodes and resamples everything into one waveform."""

    def __init__(self, stream: av.AudioStream, base: float, seconds: float, geometry: ClipGeometry) -> None:
        stream.codec_context.thread_count = 1
        self._context = stream.codec_context
        self._unit, self._base = float(stream.time_base or 0), base
        self._geometry = geometry
        self._resampler = av.AudioResampler(format="fltp", layout="mono", rate=geometry.sample_rate)
        self._pieces: list[np.ndarray] = []
        self._first: float | None = None  # seconds at which the sound begins

    def feed(self, packet: av.Packet) -> None:
        for frame in self._context.decode(packet):
            if self._first is None:
                self._first = (frame.pts or 0) * self._unit - self._base
            self._pieces += [piece.to_ndarray()[0] for piece in self._resampler.resample(frame)]

    def segments(self, starts: list[float]) -> np.ndarray:
        """[segments, samples] float32."""
        self._pieces += [piece.to_ndarray()[0] for piece in self._resampler.resample(None)]
        samples = np.concatenate(self._pieces)
        rate, count = self._geometry.sample_rate, self._geometry.samples_per_segment
        waveform = np.zeros((len(starts), count), np.float32)
        for row, start in zip(waveform, starts, strict=True):
            first = round((start - (self._first or 0)) * rate)
            piece = samples[max(first, 0) : max(first + count, 0)]
            row[max(-first, 0) : max(-first, 0) + len(piece)] = piece
        return waveform


@functools.lru_cache(maxsize=1)
def mel_matrix(sample_rate: int, n_fft: int, bins: int) -> tuple[np.ndarray, np.ndarray]:
    """The window [n_fft] and the triangular filters [n_fft / 2 + 1, bins], float32."""
    top = sample_rate // 2
    frequencies = np.linspace(0.0, top, n_fft // 2 + 1)
    corners = 700.0 * (10.0 ** (np.linspace(0.0, 2595.0 * np.log10(1.0 + top / 700.0), bins + 2) / 2595.0) - 1.0)
    rising = (frequencies[:, None] - corners[:-2]) / (corners[1:-1] - corners[:-2])
    falling = (corners[2:] - frequencies[:, None]) / (corners[2:] - corners[1:-1])
    window = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(n_fft) / n_fft)
    return window.astype(np.float32), np.maximum(0.0, np.minimum(rising, falling)).astype(np.float32)


def log_mel(waveform: np.ndarray, geometry: ClipGeometry) -> np.ndarray:
    """[segments, samples] -> [segments, mel_bins, frames], float32."""
    hop = waveform.shape[1] // geometry.mel_frames + 1
    window, filters = mel_matrix(geometry.sample_rate, 2 * hop, geometry.mel_bins)
    padded = np.pad(waveform, ((0, 0), (hop, hop)), mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, 2 * hop, axis=1)[:, ::hop]
    spectrum = scipy.fft.rfft(frames * window)  # in single precision, which NumPy before 2.0 does not have
    power = spectrum.real**2 + spectrum.imag**2
    return np.log(power @ filters + np.float32(1e-6)).transpose(0, 2, 1)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="avbert_base")
    parser.add_argument("files", nargs="+")
    options = parser.parse_args()
    geometry = Config.from_preset(options.preset).geometry
    av.logging.set_level(None)
    pictures, seconds = 0, 0.0
    with tempfile.TemporaryFile() as output:
        for path in options.files:
            made, length_of_clip = convert(path, geometry, output)
            pictures += made
            seconds += length_of_clip
    print(json.dumps({"clips": len(options.files), "pictures": pictures, "seconds": round(seconds, 3)}))


if __name__ == "__main__":
    main()

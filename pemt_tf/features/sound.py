"""Decodes the sound of the wanted segments: mono, resampled, each sample at the moment its timestamp says."""

from __future__ import annotations

import av
import numpy as np

from pemt_tf.config import ClipGeometry
from pemt_tf.features.media_errors import MediaError
from pemt_tf.features.media_file import MediaFile

SETTLING = 1.0  # seconds decoded before a wanted segment: decoders and resampler need a past
# Timestamps of millisecond containers jitter; sound that claims to be less off than this is taken as gapless.
GAP_TOLERANCE = 0.01


class SoundReader:
    """Fed with the packets of the sound stream, fills the waveforms of the segments.

    Attributes:
        waveform: [segments, samples] float32; zeros where there is no sound.
        damaged_packets, fed: counts.
    """

    def __init__(self, media: MediaFile, segment_starts: np.ndarray, geometry: ClipGeometry) -> None:
        self._media, self._stream = media, media.audio
        self._context = self._stream.codec_context
        self._context.thread_count = 1
        self._rate = geometry.sample_rate
        self._first_samples = np.round(np.asarray(segment_starts) * self._rate).astype(np.int64)
        self.waveform = np.zeros((geometry.segments, geometry.samples_per_segment), np.float32)
        self._covered = np.zeros(self.waveform.shape, bool)
        self._needed = _wanted_packets(media.audio_index.times, segment_starts, geometry.segment_seconds)
        self._ordinal = -1
        self._decoding = False
        self._pieces: list[np.ndarray] = []  # one gapless stretch of decoded sound at the file's own rate
        self._stretch_start = 0.0
        self._stretch_rate = 0
        self._stretch_samples = 0
        self.damaged_packets = self.fed = 0
        self.last_error = ""

    @property
    def coverage(self) -> float:
        """Share of the segments' samples for which there was sound."""
        return float(self._covered.mean())

    def feed(self, packet: av.Packet) -> None:
        """Takes the next packet of the stream, in file order."""
        self._ordinal += 1
        if not self._needed[self._ordinal]:
            if self._decoding:
                self._decode(None)
                self._context.flush_buffers()
                self._end_stretch()
                self._decoding = False
            return
        self._decoding = True
        self.fed += 1
        self._decode(packet)

    def finish(self) -> None:
        """No more packets."""
        if self._decoding:
            self._decode(None)
        self._end_stretch()

    def _decode(self, packet: av.Packet | None) -> None:
        try:
            for frame in self._context.decode(packet):
                self._append(mono(frame), frame.sample_rate, self._media.seconds(frame.pts, self._stream))
        except EOFError:
            return
        except MemoryError:
            raise MediaError("too_large", "decoding the sound took more memory than is allowed") from None
        except (av.FFmpegError, ValueError) as error:
            self.damaged_packets += 1
            self.last_error = getattr(error, "strerror", None) or str(error)

    def _append(self, samples: np.ndarray, rate: int, time: float) -> None:
        if self._pieces:
            expected = self._stretch_start + self._stretch_samples / self._stretch_rate
            time = expected if np.isnan(time) else time
            # Compared with the whole stretch, not with the last packet, so that small errors cannot add up.
            if rate != self._stretch_rate or abs(time - expected) > GAP_TOLERANCE:
                self._end_stretch()
        if not self._pieces:
            self._stretch_start = 0.0 if np.isnan(time) else time
            self._stretch_rate, self._stretch_samples = rate, 0
        self._pieces.append(samples)
        self._stretch_samples += len(samples)

    def _end_stretch(self) -> None:
        if not self._pieces:
            return
        samples = resampled(np.concatenate(self._pieces), self._stretch_rate, self._rate)
        self._pieces = []
        first = round(self._stretch_start * self._rate)
        length = self.waveform.shape[1]
        for segment, segment_first in enumerate(self._first_samples):
            begin = max(first, segment_first)
            end = min(first + len(samples), segment_first + length)
            if begin < end:
                here = slice(begin - segment_first, end - segment_first)
                self.waveform[segment, here] = samples[begin - first : end - first]
                self._covered[segment, here] = True


def mono(frame: av.AudioFrame) -> np.ndarray:
    """The plain mean over channels.

    Returns:
        [samples] float32, full scale 1.
    """
    values = frame.to_ndarray()
    if not frame.format.is_planar:
        values = values.reshape(-1, frame.layout.nb_channels).T
    if values.dtype.kind == "f":
        return values.mean(axis=0, dtype=np.float32)
    middle = 128 if values.dtype == np.uint8 else 0
    full_scale = 2.0 ** (8 * values.dtype.itemsize - 1)
    return ((values.mean(axis=0, dtype=np.float64) - middle) / full_scale).astype(np.float32)


def resampled(samples: np.ndarray, rate: int, target_rate: int) -> np.ndarray:
    """Changes the sampling rate of mono sound; the first sample keeps its moment.

    Args:
        samples: [samples] float32.
        rate, target_rate: Hz.

    Returns:
        [about samples * target_rate / rate] float32.
    """
    if rate == target_rate:
        return samples
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[None], np.float32), format="fltp", layout="mono")
    frame.sample_rate = rate
    resampler = av.AudioResampler(format="fltp", layout="mono", rate=target_rate)
    made = [*resampler.resample(frame), *resampler.resample(None)]
    return np.concatenate([piece.to_ndarray()[0] for piece in made]) if made else np.zeros(0, np.float32)


def _wanted_packets(times: np.ndarray, segment_starts: np.ndarray, segment_seconds: float) -> np.ndarray:
    """[packets] bool: those that may sound in a segment, and enough before it for the decoder to settle."""
    if np.isnan(times).any():
        return np.ones(len(times), bool)
    wanted = np.zeros(len(times), bool)
    for start in segment_starts:
        wanted |= (times > start - SETTLING) & (times < start + segment_seconds + 0.25)
    return wanted

"""Decodes the audio of the wanted segments: mono, resampled, each sample at the moment that its timestamp says."""

from __future__ import annotations

import math
from dataclasses import dataclass

import av
import numpy as np
from av.audio.plane import AudioPlane
from av.codec.codec import Properties

from pemt_tf.config import ClipGeometry
from pemt_tf.media.audio_clock import GAP_TOLERANCE
from pemt_tf.media.clip_range import ClipSampling
from pemt_tf.media.container import message_of
from pemt_tf.media.media_errors import MediaError
from pemt_tf.media.media_file import MediaFile

SETTLING = 1.0  # seconds decoded before a wanted segment: decoders and resampler need a past
TRAILING = 0.25  # seconds decoded after it
DECODER_DELAY = 0.5  # seconds after which a decoder gives no more audio of earlier packets
BLOCK = 10.0  # seconds resampled at a time, so that memory does not grow with the file
LARGEST_SAMPLE = 2.0**32  # times full scale: twice the largest 32-bit integer, as stored in floats without scaling
# FFmpeg's sample formats to NumPy's names.
_SAMPLES = {"u8": "u1", "s16": "i2", "s32": "i4", "s64": "i8", "flt": "f4", "dbl": "f8"}


@dataclass
class ClipAudio:
    """The audio of one clip. Counts are those within it."""

    waveform: np.ndarray  # [segments, samples] float32; zeros where there is no audio
    covered: np.ndarray  # [segments, samples] bool: where there is audio
    stores_samples: bool  # else they come from a lossy decoder, also where it failed over damaged packets
    fed: int = 0
    damaged_packets: int = 0
    problem: str | None = None  # why samples within the clip, also between its segments, are unusable
    last_error: str = ""  # the decoder's, also from outside the clip

    @property
    def coverage(self) -> float:
        """Share of the segments' samples for which there was audio."""
        return float(self.covered.mean())


class AudioReader:
    """Takes the packets of the audio stream and fills the waveforms of the clips' segments.

    `passed` clips are complete, in order.
    """

    def __init__(
        self, media: MediaFile, stream: av.AudioStream, samplings: list[ClipSampling], geometry: ClipGeometry
    ) -> None:
        self.stream, self._media, self._samplings = stream, media, samplings
        self._context = stream.codec_context
        self._context.thread_count = 1
        self._stores_samples = not self._context.codec.properties & Properties.LOSSY.value
        self._rate, self._geometry = geometry.sample_rate, geometry
        self._times = media.audio_index.times
        starts = np.concatenate([sampling.segment_starts for sampling in samplings])
        self._needed = wanted_packets(self._times, starts, geometry.segment_seconds)
        self._placed = None if media.audio_times is None else iter(media.audio_times)
        if self._placed is not None:
            self._needed[: np.flatnonzero(self._needed).max(initial=-1) + 1] = True  # frames are told by their count
        self._damaged = np.zeros(len(self._times), bool)
        self._releases = _releases(self._times, samplings)
        self._ordinal = -1
        self._decoding = False
        self._run: _GaplessRun | None = None
        self._open: dict[int, ClipAudio] = {}
        self._bad: list[tuple[float, float, str]] = []  # first and last bad sample, seconds; what is wrong
        self.passed = 0
        self._last_error = ""

    def feed(self, packet: av.Packet) -> None:
        """Takes the next packet of the stream, in file order."""
        self._ordinal += 1
        if self._ordinal >= len(self._needed):
            return
        if self._needed[self._ordinal]:
            self._decoding = True
            self._decode(packet)
        elif self._decoding:
            self._decode(None)
            self._context.flush_buffers()
            self._end_run()
            self._decoding = False
        if self._ordinal == len(self._needed) - 1:
            self.finish()
        elif self.passed < len(self._samplings) and self._ordinal >= self._releases[self.passed]:
            self._release()

    def finish(self) -> None:
        """No more packets."""
        if self._decoding:
            self._decode(None)
            self._decoding = False
        self._end_run()
        self.passed = len(self._samplings)

    def take(self, clip: int) -> ClipAudio:
        """Hands over the audio of a clip that is complete."""
        audio = self._open.pop(clip, None) or self._new()
        start, end = self._samplings[clip].start, self._samplings[clip].end
        inside = self._needed & ~((self._times < start) | (self._times >= end))
        audio.fed, audio.damaged_packets = int(inside.sum()), int((inside & self._damaged).sum())
        audio.problem = next((what for first, last, what in self._bad if first < end and last >= start), None)
        audio.last_error = self._last_error
        return audio

    def _new(self) -> ClipAudio:
        shape = self._geometry.segments, self._geometry.samples_per_segment
        return ClipAudio(np.zeros(shape, np.float32), np.zeros(shape, bool), self._stores_samples)

    def _release(self) -> None:
        if self._run is not None:
            self._write(*self._run.resample())
        while self.passed < len(self._samplings) and self._ordinal >= self._releases[self.passed]:
            self.passed += 1

    def _decode(self, packet: av.Packet | None) -> None:
        try:
            for frame in self._context.decode(packet):
                self._append(mono(frame), frame.sample_rate, self._time(frame))
        except EOFError:
            return
        except MemoryError:
            raise MediaError("too_large", "decoding the audio took more memory than is allowed") from None
        except (av.FFmpegError, ValueError) as error:
            self._damaged[self._ordinal] = True
            self._last_error = message_of(error)

    def _time(self, frame: av.AudioFrame) -> float:
        if self._placed is not None:
            return next(self._placed, np.nan)
        return self._media.seconds(frame.pts, self.stream.index)

    def _append(self, samples: np.ndarray, rate: int, time: float) -> None:
        if self._run is not None:
            time = self._run.end if np.isnan(time) else time
            # Compared with the whole run, not with the last packet, so that small errors cannot add up.
            if rate != self._run.rate or abs(time - self._run.end) > GAP_TOLERANCE:
                self._end_run()
        if self._run is None:
            self._run = _GaplessRun(0.0 if np.isnan(time) else time, rate, self._rate)
        problem = bad_samples(samples)
        if problem:
            first, last = self._run.end + np.flatnonzero(~(np.abs(samples) <= LARGEST_SAMPLE))[[0, -1]] / rate
            self._bad.append((first, last, f"{problem}, at {first:.2f} s"))
        self._run.append(samples)
        if self._run.waiting >= BLOCK * rate:
            self._write(*self._run.resample())

    def _end_run(self) -> None:
        if self._run is not None:
            self._write(*self._run.resample(last=True))
            self._run = None

    def _write(self, first: int, samples: np.ndarray) -> None:
        """Copies resampled audio into the segments it belongs to; `first` counts samples from the clock's zero."""
        length, after = self._geometry.samples_per_segment, first + len(samples)
        for clip in range(self.passed, len(self._samplings)):
            sampling = self._samplings[clip]
            if sampling.start * self._rate >= after + 1:
                return
            for segment, start in enumerate(sampling.segment_starts):
                segment_first = round(start * self._rate)
                begin, end = max(first, segment_first), min(after, segment_first + length)
                if begin < end:
                    if clip not in self._open:
                        self._open[clip] = self._new()
                    here = slice(begin - segment_first, end - segment_first)
                    self._open[clip].waveform[segment, here] = samples[begin - first : end - first]
                    self._open[clip].covered[segment, here] = True


class _GaplessRun:
    """Decoded audio without a gap: takes samples at the file's rate, gives them at the wanted rate.

    The output's samples lie at whole multiples of the wanted rate's period, counted from the clock's zero, so it does
    not depend on where decoding began. Start and end are seconds; `waiting` samples are not resampled yet.
    """

    def __init__(self, start: float, rate: int, target_rate: int) -> None:
        self.start, self.rate = start, rate
        self.waiting = self._samples = 0
        self._pieces: list[np.ndarray] = []
        self._resampler = None
        self._first = self._next = round(start * target_rate)
        if rate != target_rate:
            self._resampler = av.AudioResampler(format="fltp", layout="mono", rate=target_rate)
            lead = samples_to_grid(start, rate, target_rate)
            self._pieces.append(np.zeros(lead, np.float32))
            self._first, self._next = math.ceil(start * target_rate - 0.01), round((start - lead / rate) * target_rate)

    @property
    def end(self) -> float:
        return self.start + self._samples / self.rate

    def append(self, samples: np.ndarray) -> None:
        self._pieces.append(samples)
        self._samples += len(samples)
        self.waiting += len(samples)

    def resample(self, last: bool = False) -> tuple[int, np.ndarray]:
        """The number of the first sample, counted from the clock's zero, and the resampled audio so far."""
        samples = np.concatenate(self._pieces) if self._pieces else np.zeros(0, np.float32)
        self._pieces, self.waiting = [], 0
        if self._resampler is not None:
            samples = _resampled(self._resampler, samples, self.rate, last)
        begin, self._next = self._next, self._next + len(samples)
        lead = min(max(self._first - begin, 0), len(samples))
        return begin + lead, samples[lead:]


def samples_to_grid(start: float, rate: int, target_rate: int) -> int:
    """How many samples to put before audio that starts at `start`, so that it starts on the target's grid.

    At most 20 ms; where no number fits exactly (the rates have no small common measure), the best one.
    """
    period = min(rate // math.gcd(rate, target_rate), rate // 50)
    places = (start - np.arange(max(period, 1)) / rate) * target_rate
    return int(np.abs(places - np.rint(places)).round(4).argmin())


def mono(frame: av.AudioFrame) -> np.ndarray:
    """The plain mean over channels: [samples] float32, full scale 1."""
    # Not `to_ndarray`: with eight channels or more PyAV reads behind the array of channel pointers, and crashes.
    kind, channels, samples = _SAMPLES[frame.format.packed.name], frame.layout.nb_channels, frame.samples
    if frame.format.is_planar:
        values = np.stack([_values(plane, kind, samples) for plane in frame.planes[:channels]])
    else:
        values = _values(frame.planes[0], kind, samples * channels).reshape(samples, channels).T
    if values.dtype.kind == "f":
        with np.errstate(over="ignore", invalid="ignore"):  # refused later, see `bad_samples`
            return np.add.reduce(values, axis=0, dtype=np.float32) / np.float32(len(values))
    middle = 128 if values.dtype == np.uint8 else 0
    full_scale = 2.0 ** (8 * values.dtype.itemsize - 1)
    return ((values.mean(axis=0, dtype=np.float64) - middle) / full_scale).astype(np.float32)


def _values(plane: AudioPlane, kind: str, count: int) -> np.ndarray:
    # A plane is a buffer, though PyAV's hints do not say so.
    return np.frombuffer(plane, kind, count)  # pyright: ignore[reportCallIssue, reportArgumentType]


def bad_samples(waveform: np.ndarray) -> str | None:
    """Why audio is unusable (its spectrogram would not be finite), one line; None if it is usable."""
    largest = float(np.abs(waveform).max(initial=0.0))
    if largest <= LARGEST_SAMPLE:
        return None
    if np.isfinite(largest):
        return f"a sample is {largest:.3g} times full scale; the limit is {LARGEST_SAMPLE:.3g}"
    return f"{np.count_nonzero(~np.isfinite(waveform))} of {waveform.size} samples are infinite or not numbers"


def _resampled(resampler: av.AudioResampler, samples: np.ndarray, rate: int, last: bool) -> np.ndarray:
    pieces = []
    if len(samples):
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[None]), format="fltp", layout="mono")
        frame.sample_rate = rate
        pieces += resampler.resample(frame)
    if last:
        pieces += resampler.resample(None)
    return np.concatenate([piece.to_ndarray()[0] for piece in pieces]) if pieces else np.zeros(0, np.float32)


def wanted_packets(times: np.ndarray, segment_starts: np.ndarray, segment_seconds: float) -> np.ndarray:
    """[packets] bool: those that may be heard in a segment, and enough before it for the decoder to settle."""
    if np.isnan(times).any():
        return np.ones(len(times), bool)
    order = np.argsort(times, kind="stable")
    first = np.searchsorted(times[order], segment_starts - SETTLING, side="right")
    after = np.searchsorted(times[order], segment_starts + segment_seconds + TRAILING, side="left")
    depth = np.zeros(len(times) + 1, np.int64)
    np.add.at(depth, first, 1)
    np.add.at(depth, after, -1)
    wanted = np.zeros(len(times), bool)
    wanted[order] = np.cumsum(depth[:-1]) > 0
    return wanted


def _releases(times: np.ndarray, samplings: list[ClipSampling]) -> np.ndarray:
    """[clips] the packet after which no more of a clip's audio can come; beyond the last where that is unknown."""
    if np.isnan(times).any():
        return np.full(len(samplings), len(times))
    ends = [sampling.end + DECODER_DELAY for sampling in samplings]
    return np.searchsorted(np.maximum.accumulate(times), ends, side="left")

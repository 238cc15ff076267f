"""Decodes the sound of the wanted segments: mono, resampled, each sample at the moment its timestamp says."""

from __future__ import annotations

import math
from dataclasses import dataclass

import av
import numpy as np
from av.codec.codec import Properties

from pemt_tf.config import ClipGeometry
from pemt_tf.media.audio_clock import GAP_TOLERANCE
from pemt_tf.media.media_errors import MediaError
from pemt_tf.media.media_file import MediaFile
from pemt_tf.media.segment_sampling import ClipPlan

SETTLING = 1.0  # seconds decoded before a wanted segment: decoders and resampler need a past
TRAILING = 0.25  # seconds decoded after it
DECODER_DELAY = 0.5  # seconds after which no more sound of earlier packets comes out
BLOCK = 10.0  # seconds resampled at a time, so that memory does not grow with the file
LARGEST_SAMPLE = 2.0**32  # times full scale: twice what integers of 32 bits come to that are stored as floats unscaled
# FFmpeg's sample formats, as NumPy calls them.
_SAMPLES = {"u8": "u1", "s16": "i2", "s32": "i4", "s64": "i8", "flt": "f4", "dbl": "f8"}


@dataclass
class ClipSound:
    """The sound of one clip.

    Attributes:
        waveform: [segments, samples] float32; zeros where there is no sound.
        covered: [segments, samples] bool: where there is.
        fed, damaged_packets: counts within the clip.
        problem: what makes samples unusable that were decoded within the clip, be they in a segment or not; None where
            nothing does.
    """

    waveform: np.ndarray
    covered: np.ndarray
    fed: int = 0
    damaged_packets: int = 0
    problem: str | None = None

    @property
    def coverage(self) -> float:
        """Share of the segments' samples for which there was sound."""
        return float(self.covered.mean())


class SoundReader:
    """Fed with the packets of the sound stream, fills the waveforms of the clips' segments.

    Attributes:
        passed: how many of the clips are complete; they are completed in order.
        last_error: of the decoder.
        stores_samples: whether the file holds the samples themselves; else they are the decoder's, also where it went
            wrong over damaged packets.
    """

    def __init__(self, media: MediaFile, plans: list[ClipPlan], geometry: ClipGeometry) -> None:
        self._media, self._stream, self._plans = media, media.audio, plans
        self._context = self._stream.codec_context
        self._context.thread_count = 1
        self.stores_samples = not self._context.codec.properties & Properties.LOSSY.value
        self._rate, self._geometry = geometry.sample_rate, geometry
        self._times = media.audio_index.times
        starts = np.concatenate([plan.segment_starts for plan in plans])
        self._needed = wanted_packets(self._times, starts, geometry.segment_seconds)
        self._placed = None if media.sound_times is None else iter(media.sound_times)
        if self._placed is not None:
            self._needed[: np.flatnonzero(self._needed).max(initial=-1) + 1] = True  # frames are told by their count
        self._damaged = np.zeros(len(self._times), bool)
        self._releases = _releases(self._times, plans)
        self._ordinal = -1
        self._decoding = False
        self._stretch: _Stretch | None = None
        self._open: dict[int, ClipSound] = {}
        self._bad: list[tuple[float, float, str]] = []  # first and last bad sample, seconds; what is wrong
        self.passed = 0
        self.last_error = ""

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
            self._end_stretch()
            self._decoding = False
        if self._ordinal == len(self._needed) - 1:
            self.finish()
        elif self.passed < len(self._plans) and self._ordinal >= self._releases[self.passed]:
            self._release()

    def finish(self) -> None:
        """No more packets."""
        if self._decoding:
            self._decode(None)
            self._decoding = False
        self._end_stretch()
        self.passed = len(self._plans)

    def take(self, clip: int) -> ClipSound:
        """Hands over the sound of a clip that is complete."""
        sound = self._open.pop(clip, None) or self._new()
        inside = self._needed & ~((self._times < self._plans[clip].start) | (self._times >= self._plans[clip].end))
        sound.fed, sound.damaged_packets = int(inside.sum()), int((inside & self._damaged).sum())
        plan = self._plans[clip]
        sound.problem = next((what for first, last, what in self._bad if first < plan.end and last >= plan.start), None)
        return sound

    def _new(self) -> ClipSound:
        shape = self._geometry.segments, self._geometry.samples_per_segment
        return ClipSound(np.zeros(shape, np.float32), np.zeros(shape, bool))

    def _release(self) -> None:
        if self._stretch is not None:
            self._write(*self._stretch.resample())
        while self.passed < len(self._plans) and self._ordinal >= self._releases[self.passed]:
            self.passed += 1

    def _decode(self, packet: av.Packet | None) -> None:
        try:
            for frame in self._context.decode(packet):
                self._append(mono(frame), frame.sample_rate, self._time(frame))
        except EOFError:
            return
        except MemoryError:
            raise MediaError("too_large", "decoding the sound took more memory than is allowed") from None
        except (av.FFmpegError, ValueError) as error:
            self._damaged[self._ordinal] = True
            self.last_error = getattr(error, "strerror", None) or str(error)

    def _time(self, frame: av.AudioFrame) -> float:
        if self._placed is not None:
            return next(self._placed, np.nan)
        return self._media.seconds(frame.pts, self._stream)

    def _append(self, samples: np.ndarray, rate: int, time: float) -> None:
        stretch = self._stretch
        if stretch is not None:
            time = stretch.end if np.isnan(time) else time
            # Compared with the whole stretch, not with the last packet, so that small errors cannot add up.
            if rate != stretch.rate or abs(time - stretch.end) > GAP_TOLERANCE:
                self._end_stretch()
        if self._stretch is None:
            self._stretch = _Stretch(0.0 if np.isnan(time) else time, rate, self._rate)
        problem = bad_samples(samples)
        if problem:
            first, last = self._stretch.end + np.flatnonzero(~(np.abs(samples) <= LARGEST_SAMPLE))[[0, -1]] / rate
            self._bad.append((first, last, f"{problem}, at {first:.2f} s"))
        self._stretch.append(samples)
        if self._stretch.waiting >= BLOCK * rate:
            self._write(*self._stretch.resample())

    def _end_stretch(self) -> None:
        if self._stretch is not None:
            self._write(*self._stretch.resample(last=True))
            self._stretch = None

    def _write(self, first: int, samples: np.ndarray) -> None:
        """Copies resampled sound into the segments it belongs to; `first` counts from the clock's zero."""
        length, after = self._geometry.samples_per_segment, first + len(samples)
        for clip in range(self.passed, len(self._plans)):
            plan = self._plans[clip]
            if plan.start * self._rate >= after + 1:
                return
            for segment, start in enumerate(plan.segment_starts):
                segment_first = round(start * self._rate)
                begin, end = max(first, segment_first), min(after, segment_first + length)
                if begin < end:
                    if clip not in self._open:
                        self._open[clip] = self._new()
                    sound = self._open[clip]
                    here = slice(begin - segment_first, end - segment_first)
                    sound.waveform[segment, here] = samples[begin - first : end - first]
                    sound.covered[segment, here] = True


class _Stretch:
    """A gapless stretch of decoded sound: takes samples at the file's rate, gives them at the wanted rate.

    The output's samples lie at whole multiples of the wanted rate's period, counted from the clock's zero; so where
    decoding began makes no difference to what comes out.

    Attributes:
        start, end: seconds.
        rate: of the file, Hz.
        waiting: samples that are not resampled yet.
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
        """What can be made of the samples so far, and the number of its first sample, from the clock's zero."""
        made = np.concatenate(self._pieces) if self._pieces else np.zeros(0, np.float32)
        self._pieces, self.waiting = [], 0
        if self._resampler is not None:
            made = _resampled(self._resampler, made, self.rate, last)
        begin, self._next = self._next, self._next + len(made)
        lead = min(max(self._first - begin, 0), len(made))
        return begin + lead, made[lead:]


def samples_to_grid(start: float, rate: int, target_rate: int) -> int:
    """How many samples to put before sound that starts at `start`, so that it starts on the target's grid.

    At most 20 ms; where none fits exactly (the rates have no small common measure) the one that fits best.
    """
    period = min(rate // math.gcd(rate, target_rate), rate // 50)
    places = (start - np.arange(max(period, 1)) / rate) * target_rate
    return int(np.abs(places - np.rint(places)).round(4).argmin())


def mono(frame: av.AudioFrame) -> np.ndarray:
    """The plain mean over channels.

    Returns:
        [samples] float32, full scale 1.
    """
    # Not `to_ndarray`: with eight channels or more PyAV takes what lies behind their pointers for more of them, and
    # crashes when it reads there.
    kind, channels, samples = _SAMPLES[frame.format.packed.name], frame.layout.nb_channels, frame.samples
    if frame.format.is_planar:
        values = np.stack([np.frombuffer(plane, kind, samples) for plane in frame.planes[:channels]])
    else:
        values = np.frombuffer(frame.planes[0], kind, samples * channels).reshape(samples, channels).T
    if values.dtype.kind == "f":
        with np.errstate(over="ignore", invalid="ignore"):  # what comes of it is refused later, see `bad_samples`
            return np.add.reduce(values, axis=0, dtype=np.float32) / np.float32(len(values))
    middle = 128 if values.dtype == np.uint8 else 0
    full_scale = 2.0 ** (8 * values.dtype.itemsize - 1)
    return ((values.mean(axis=0, dtype=np.float64) - middle) / full_scale).astype(np.float32)


def bad_samples(waveform: np.ndarray) -> str | None:
    """What makes sound unusable, one line: a spectrogram of it would hold no numbers; None where nothing does."""
    largest = float(np.abs(waveform).max(initial=0.0))
    if largest <= LARGEST_SAMPLE:
        return None
    if np.isfinite(largest):
        return f"a sample is {largest:.3g} times full scale; at most {LARGEST_SAMPLE:.3g} can be meant"
    return f"{np.count_nonzero(~np.isfinite(waveform))} of {waveform.size} samples are infinite or not numbers"


def _resampled(resampler: av.AudioResampler, samples: np.ndarray, rate: int, last: bool) -> np.ndarray:
    made = []
    if len(samples):
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[None]), format="fltp", layout="mono")
        frame.sample_rate = rate
        made += resampler.resample(frame)
    if last:
        made += resampler.resample(None)
    return np.concatenate([piece.to_ndarray()[0] for piece in made]) if made else np.zeros(0, np.float32)


def wanted_packets(times: np.ndarray, segment_starts: np.ndarray, segment_seconds: float) -> np.ndarray:
    """[packets] bool: those that may sound in a segment, and enough before it for the decoder to settle."""
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


def _releases(times: np.ndarray, plans: list[ClipPlan]) -> np.ndarray:
    """Per clip the packet after which no more of its sound can come; beyond the last where that is never known."""
    if np.isnan(times).any():
        return np.full(len(plans), len(times))
    return np.searchsorted(np.maximum.accumulate(times), [plan.end + DECODER_DELAY for plan in plans], side="left")

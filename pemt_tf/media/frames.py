"""Decodes the wanted frames of a stream and turns each into one small JPEG, upright and with square pixels."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

import av
import numpy as np
import simplejpeg

from pemt_tf.media.clip_range import ClipSampling
from pemt_tf.media.container import MOST_PIXELS, message_of
from pemt_tf.media.decoded_clip import FrameMeter, Thumb, thumb
from pemt_tf.media.frame_scaling import FrameScaler, display_size, stored_size
from pemt_tf.media.media_errors import MediaError
from pemt_tf.media.media_file import MediaFile
from pemt_tf.media.packet_index import TIME_TOLERANCE, packets_to_decode

MOST_ELONGATED = 100  # the long side over the short one
SHORTEST_FRAME = 1e-6  # seconds
T = TypeVar("T")


@dataclass
class ClipFrames:
    """The frames of one clip. Counts are those within it; the two fields of a frame count as one packet."""

    jpegs: list[bytes | None]  # segments x frames, row-major; None where none is known (yet)
    times: np.ndarray  # [segments x frames] timestamps of the frames, seconds
    meter: FrameMeter
    height: int = 0  # size of the JPEGs, pixels; 0 until there is one
    width: int = 0
    fed: int = 0
    damaged_packets: int = 0
    decoded: int = 0
    damaged_frames: int = 0
    last_error: str = ""  # the decoder's, also from outside the clip


class FrameReader:
    """Takes the packets of the video stream and keeps the JPEGs of the moments that the clips want.

    `passed` clips are complete, in order. `upright_height` and `upright_width` are the size of the first upright frame
    before scaling, pixels; 0 until there is one.
    """

    def __init__(
        self, media: MediaFile, stream: av.VideoStream, samplings: list[ClipSampling], short_side: int, quality: int
    ) -> None:
        self.stream, self._media, self._samplings = stream, media, samplings
        self._context = _decoder(stream, media.notes)
        self._context.thread_count = 1
        self._context.options = {"max_pixels": str(MOST_PIXELS)}
        self._short_side, self._quality = short_side, quality
        # All clips' moments in one ascending row, which clip and place each belongs to, where each clip is complete.
        moments = np.stack([sampling.moments.ravel() for sampling in samplings])
        order = np.argsort(moments, axis=None, kind="stable")
        in_order = moments.ravel()[order]
        self._owners, self._places = np.divmod(order, moments.shape[1])
        rank = np.argsort(order, kind="stable").reshape(moments.shape)
        self._complete = np.maximum.accumulate(rank.max(axis=1) + 1)
        index = media.video_index
        self._times = index.times
        # Without presentation times a keyframe's stamp may be early by the decoder's delay: decode a little more.
        margins = (-0.5, 0.0, 0.5) if media.dts_only else (0.0,)
        around = np.concatenate([in_order + margin for margin in margins])
        second = media.second_fields
        self._needed = packets_to_decode(index.times, index.keyframes & ~second, around)
        self._needed[1:] |= second[1:] & self._needed[:-1]
        self._begins = ~second
        self._damaged = np.zeros(len(index.times), bool)
        self._clock = FrameClock(
            1.0 / (media.frame_rate or 25), index.times[np.argmax(self._needed)] if media.dts_only else None
        )
        self._picker = FramePicker(in_order)
        self._scaler = FrameScaler()
        self._aspect = float(stream.sample_aspect_ratio or 1)
        self._first_aspect: float | None = None
        self._good_times, self._damaged_times = array("d"), array("d")  # when frames came out of the decoder, seconds
        self._ordinal = -1
        self._decoding = False
        self._open: dict[int, ClipFrames] = {}
        self.passed = self.fed = 0
        self.upright_height = self.upright_width = 0
        self._last_error = ""

    def feed(self, packet: av.Packet) -> None:
        """Takes the next packet of the stream, in file order."""
        self._ordinal += 1
        if self._picker.finished or self._ordinal >= len(self._needed):
            return
        if self._needed[self._ordinal]:
            self._decoding = True
            self.fed += 1
            if packet.size:
                self._decode(packet)
            else:  # the frame before stays, as in Theora where nothing moves
                self._begins[self._ordinal] = False
        elif self._decoding:
            self._decode(None)
            self._context.flush_buffers()
            self._clock.interrupted()
            self._decoding = False
        if self._ordinal == len(self._needed) - 1:
            self.finish()

    def finish(self) -> None:
        """No more packets."""
        if self._decoding and not self._picker.finished:
            self._decode(None)
            self._decoding = False
        self._keep(self._picker.finish())

    def take(self, clip: int) -> ClipFrames:
        """Hands over the frames of a clip that is complete."""
        frames = self._open.pop(clip, None) or self._new(clip)
        begin, end = self._samplings[clip].start, self._samplings[clip].end
        inside = (self._times >= begin - TIME_TOLERANCE) & (self._times < end) | np.isnan(self._times)
        inside[self._ordinal + 1 :] = False
        frames.fed = int((inside & self._needed & self._begins).sum())
        frames.damaged_packets = int((inside & self._damaged).sum())
        frames.damaged_frames = _between(self._damaged_times, begin, end)
        frames.decoded = _between(self._good_times, begin, end) + frames.damaged_frames
        frames.last_error = self._last_error
        return frames

    def _new(self, clip: int) -> ClipFrames:
        moments = self._samplings[clip].moments
        return ClipFrames([None] * moments.size, np.zeros(moments.size), FrameMeter(moments.shape[1]))

    def _decode(self, packet: av.Packet | None) -> None:
        try:
            frames = self._context.decode(packet)
        except EOFError:
            return
        except MemoryError:
            raise MediaError("too_large", "decoding the frames took more memory than is allowed") from None
        except (av.FFmpegError, ValueError) as error:
            self._damaged[self._ordinal] = True
            self._last_error = message_of(error)
            return
        seconds, number = self._media.seconds, self.stream.index
        for frame in frames:
            time = self._clock.time(seconds(frame.pts, number), seconds(frame.dts, number))
            (self._damaged_times if frame.is_corrupt else self._good_times).append(time)
            self._keep(self._picker.push(time, frame))

    def _keep(self, shown: Iterable[tuple[float, av.VideoFrame, range]]) -> None:
        for time, frame, moments in shown:
            scaled: dict[tuple[int, int], tuple[bytes, np.ndarray, Thumb]] = {}
            for moment in moments:
                clip, place = int(self._owners[moment]), int(self._places[moment])
                frames = self._open.get(clip)
                if frames is None:
                    frames = self._open[clip] = self._new(clip)
                if not frames.height:
                    frames.height, frames.width = self._size(frame)
                size = frames.height, frames.width
                if size not in scaled:
                    scaled[size] = self._small(frame, *size)
                frames.jpegs[place], luma, small = scaled[size]
                frames.times[place] = time
                frames.meter.add(place, luma, small)
            while self.passed < len(self._samplings) and self._complete[self.passed] <= moments.stop:
                self.passed += 1

    def _small(self, frame: av.VideoFrame, height: int, width: int) -> tuple[bytes, np.ndarray, Thumb]:
        try:
            planes = self._scaler.planes(frame, self._pixel_aspect(), height, width)
        except (av.FFmpegError, ValueError) as error:
            detail = f"frames of {frame.width} x {frame.height}, {frame.format.name}, cannot be scaled: {error}"
            raise MediaError("decode_failed", detail) from None
        return simplejpeg.encode_jpeg_yuv_planes(*planes, quality=self._quality), planes[0], thumb(planes[0])

    def _size(self, frame: av.VideoFrame) -> tuple[int, int]:
        height, width = display_size(frame, self._pixel_aspect(), self._scaler.turn(frame))
        if not self.upright_height:
            self.upright_height, self.upright_width = round(height), round(width)
        shape, size = max(height, width) / min(height, width), f"{round(width)} x {round(height)}"
        if shape > MOST_ELONGATED:
            detail = f"upright frames of {size}: one side is {shape:.0f} times the other; at most {MOST_ELONGATED}"
            raise MediaError("too_large", detail)
        return stored_size(height, width, self._short_side)

    def _pixel_aspect(self) -> float:
        """The container's value, until the coded frames have a new one."""
        coded = float(self._context.sample_aspect_ratio or 1)
        if self._first_aspect is None:
            self._first_aspect = coded
        return self._aspect if coded == self._first_aspect else coded


def _decoder(stream: av.VideoStream, notes: list[str]) -> av.VideoCodecContext:
    """FFmpeg's own decoder, except for transparent VP8 and VP9: only libvpx reads their transparency."""
    context = stream.codec_context
    other = {"vp8": "libvpx", "vp9": "libvpx-vp9"}.get(context.name)
    if other is None or "alpha_mode" not in stream.metadata:
        return context
    if other not in av.codecs_available:
        notes.append("transparent parts show their hidden colours: this FFmpeg has no libvpx")
        return context
    decoder = av.CodecContext.create(other, "r")
    assert isinstance(decoder, av.VideoCodecContext)
    decoder.extradata = context.extradata
    return decoder


def _between(times: array, begin: float, end: float) -> int:
    known = np.asarray(times)
    return int(((known >= begin - TIME_TOLERANCE) & (known < end)).sum())


class FrameClock:
    """Tells when a decoded frame is shown, by FFmpeg's best-effort rule over its two timestamps.

    Normally the presentation stamp (`pts`) is right; where it goes backwards more often than the decoding stamp
    (`dts`), the latter is used. AVI files store no presentation times: what FFmpeg then reports as `pts` jumps back and
    forth at B-frames, so only `dts` counts, minus the decoder's delay; `first_dts` is that of the first packet there.
    All are seconds. The duration of a frame is used only where it has no usable stamp at all.
    """

    def __init__(self, frame_duration: float, first_dts: float | None = None) -> None:
        self._frame_duration = frame_duration
        self._first_dts = first_dts
        self._delay: float | None = None
        self._last = {"pts": -np.inf, "dts": -np.inf}
        self._faults = {"pts": 0, "dts": 0}
        self._previous: float | None = None

    def time(self, pts: float, dts: float) -> float:
        """Seconds, always later than the previous call's; NaN arguments are unknown stamps."""
        if self._first_dts is None:
            time = self._best_effort(pts, dts)
        else:
            # The first frame comes out when the decoder has read enough; it is shown at the first packet's time.
            self._delay = dts - self._first_dts if self._delay is None else self._delay
            time = dts - self._delay
        if np.isnan(time):
            time = 0.0 if self._previous is None else self._previous + self._frame_duration
        elif self._previous is not None and time <= self._previous:
            time = self._previous + SHORTEST_FRAME  # as short as possible, so that later good stamps stay right
        self._previous = time
        return time

    def _best_effort(self, pts: float, dts: float) -> float:
        for name, stamp, other in (("pts", pts, dts), ("dts", dts, pts)):
            if not np.isnan(stamp):
                self._faults[name] += stamp <= self._last[name]
                self._last[name] = stamp
            elif not np.isnan(other):
                self._last[name] = other
        trust_pts = not np.isnan(pts) and (np.isnan(dts) or self._faults["pts"] <= self._faults["dts"])
        return pts if trust_pts else dts

    def interrupted(self) -> None:
        """Forgets earlier stamps: frames were skipped, so later ones have no relation to them."""
        self._last = {"pts": -np.inf, "dts": -np.inf}


class FramePicker(Generic[T]):
    """Picks, from frames that arrive in order of time, those that are shown at the wanted moments (ascending seconds).

    A frame is shown from its timestamp until the next one; moments before the first frame see the first.
    """

    def __init__(self, moments: np.ndarray) -> None:
        self._moments = moments
        self._next = 0
        self._held: tuple[float, T] | None = None

    @property
    def finished(self) -> bool:
        """True when every moment has its frame."""
        return self._next == len(self._moments)

    def push(self, time: float, frame: T) -> Iterator[tuple[float, T, range]]:
        """Takes the next frame; yields the one before it: timestamp, frame, indices of the moments that only saw it."""
        until = int(np.searchsorted(self._moments, time - TIME_TOLERANCE, side="left"))
        yield from self._show(until)
        self._held = (time, frame)

    def finish(self) -> Iterator[tuple[float, T, range]]:
        """Ends the stream: the last frame stays for all moments that are left."""
        yield from self._show(len(self._moments))

    def _show(self, until: int) -> Iterator[tuple[float, T, range]]:
        if self._held is not None and until > self._next:
            shown = range(self._next, until)
            self._next = until
            yield (*self._held, shown)

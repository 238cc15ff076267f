"""Decodes the wanted pictures of a stream and turns each into one small JPEG, upright and of square pixels."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field

import av
import numpy as np
import simplejpeg

from pemt_tf.media.content import PictureMeter, Thumb, thumb
from pemt_tf.media.frame_clock import FrameClock
from pemt_tf.media.frame_scaling import PictureScaler, display_size, stored_size
from pemt_tf.media.media_errors import MediaError
from pemt_tf.media.media_file import MOST_PIXELS, MediaFile
from pemt_tf.media.segment_sampling import TIME_TOLERANCE, ClipPlan, FramePicker, packets_to_decode

MOST_ELONGATED = 100  # the long side over the short one; it grows with the short one when strips are scaled


@dataclass
class ClipPictures:
    """The pictures of one clip.

    Attributes:
        jpegs: segments x frames, row-major; None where none is known (yet).
        times: [segments x frames] timestamp of the picture, seconds.
        height, width: of the JPEGs, pixels; 0 until there is one.
        meter: what is measured of them.
        fed, damaged_packets, decoded, damaged_pictures: counts within the clip; two fields of a picture count as one
            packet.
    """

    jpegs: list[bytes | None]
    times: np.ndarray
    meter: PictureMeter
    height: int = 0
    width: int = 0
    fed: int = 0
    damaged_packets: int = 0
    decoded: int = 0
    damaged_pictures: int = 0


@dataclass
class _Decoded:
    """When pictures came out of the decoder, seconds, and when damaged ones did."""

    good: array = field(default_factory=lambda: array("d"))
    damaged: array = field(default_factory=lambda: array("d"))


class PictureReader:
    """Fed with the packets of the picture stream, keeps the JPEGs of the moments that the clips want.

    Attributes:
        passed: how many of the clips are complete; they are completed in order.
        upright_height, upright_width: pixels of the first upright picture before it was scaled; 0 until there is one.
        fed: packets given to the decoder so far.
        last_error: of the decoder.
    """

    def __init__(self, media: MediaFile, plans: list[ClipPlan], short_side: int, quality: int) -> None:
        self._media, self._stream, self._plans = media, media.video, plans
        self._context = _decoder(media)
        self._context.thread_count = 1
        self._context.options = {"max_pixels": str(MOST_PIXELS)}
        self._short_side, self._quality = short_side, quality
        self._frames = plans[0].moments.shape[1]
        self._plan_moments()
        index = media.video_index
        self._times = index.times
        # Without presentation times a keyframe's stamp may be early by the decoder's delay: decode a little more.
        margins = (-0.5, 0.0, 0.5) if media.dts_only else (0.0,)
        around = np.concatenate([self._moments + margin for margin in margins])
        second = media.second_fields
        self._needed = packets_to_decode(index.times, index.keyframes & ~second, around)
        self._needed[1:] |= second[1:] & self._needed[:-1]
        self._begins = ~second
        self._damaged = np.zeros(len(index.times), bool)
        self._clock = FrameClock(
            1.0 / (media.frame_rate or 25), index.times[np.argmax(self._needed)] if media.dts_only else None
        )
        self._picker = FramePicker(self._moments)
        self._scaler = PictureScaler()
        self._aspect = float(self._stream.sample_aspect_ratio or 1)
        self._first_aspect: float | None = None
        self._decoded = _Decoded()
        self._ordinal = -1
        self._decoding = False
        self._open: dict[int, ClipPictures] = {}
        self.passed = self.fed = 0
        self.upright_height = self.upright_width = 0
        self.last_error = ""

    def _plan_moments(self) -> None:
        """All clips' moments in one ascending row, and which clip each belongs to."""
        moments = np.stack([plan.moments.ravel() for plan in self._plans])
        order = np.argsort(moments, axis=None, kind="stable")
        self._moments = moments.ravel()[order]
        self._owners, self._places = np.divmod(order, moments.shape[1])
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        # Where in that row each clip is complete.
        self._complete = np.maximum.accumulate(place.reshape(moments.shape).max(axis=1) + 1)

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
            else:  # the picture before is shown on, as Theora says of what does not move
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

    def take(self, clip: int) -> ClipPictures:
        """Hands over the pictures of a clip that is complete."""
        pictures = self._open.pop(clip, None) or self._new(clip)
        begin, end = self._plans[clip].start, self._plans[clip].end
        inside = (self._times >= begin - TIME_TOLERANCE) & (self._times < end) | np.isnan(self._times)
        inside[self._ordinal + 1 :] = False
        pictures.fed = int((inside & self._needed & self._begins).sum())
        pictures.damaged_packets = int((inside & self._damaged).sum())
        good, damaged = (_between(times, begin, end) for times in (self._decoded.good, self._decoded.damaged))
        pictures.decoded, pictures.damaged_pictures = good + damaged, damaged
        return pictures

    def _new(self, clip: int) -> ClipPictures:
        count = self._plans[clip].moments.size
        return ClipPictures([None] * count, np.zeros(count), PictureMeter(self._frames))

    def _decode(self, packet: av.Packet | None) -> None:
        try:
            frames = self._context.decode(packet)
        except EOFError:
            return
        except MemoryError:
            raise MediaError("too_large", "decoding the pictures took more memory than is allowed") from None
        except (av.FFmpegError, ValueError) as error:
            self._damaged[self._ordinal] = True
            self.last_error = getattr(error, "strerror", None) or str(error)
            return
        seconds = self._media.seconds
        for frame in frames:
            time = self._clock.time(seconds(frame.pts, self._stream), seconds(frame.dts, self._stream))
            (self._decoded.damaged if frame.is_corrupt else self._decoded.good).append(time)
            self._keep(self._picker.push(time, frame))

    def _keep(self, shown: Iterable[tuple[float, av.VideoFrame, range]]) -> None:
        for time, frame, moments in shown:
            made: dict[tuple[int, int], tuple] = {}
            for moment in moments:
                clip, place = int(self._owners[moment]), int(self._places[moment])
                pictures = self._open.get(clip)
                if pictures is None:
                    pictures = self._open[clip] = self._new(clip)
                if not pictures.height:
                    pictures.height, pictures.width = self._size(frame)
                size = pictures.height, pictures.width
                if size not in made:
                    made[size] = self._small(frame, *size)
                pictures.jpegs[place], luma, small = made[size]
                pictures.times[place] = time
                pictures.meter.add(place, luma, small)
            while self.passed < len(self._plans) and self._complete[self.passed] <= moments.stop:
                self.passed += 1

    def _small(self, frame: av.VideoFrame, height: int, width: int) -> tuple[bytes, np.ndarray, Thumb]:
        try:
            planes = self._scaler.planes(frame, self._pixel_aspect(), height, width)
        except (av.FFmpegError, ValueError) as error:
            detail = f"pictures of {frame.width} x {frame.height}, {frame.format.name}, cannot be scaled: {error}"
            raise MediaError("decode_failed", detail) from None
        return simplejpeg.encode_jpeg_yuv_planes(*planes, quality=self._quality), planes[0], thumb(planes[0])

    def _size(self, frame: av.VideoFrame) -> tuple[int, int]:
        height, width = display_size(frame, self._pixel_aspect(), self._scaler.turn(frame))
        if not self.upright_height:
            self.upright_height, self.upright_width = round(height), round(width)
        shape, size = max(height, width) / min(height, width), f"{round(width)} x {round(height)}"
        if shape > MOST_ELONGATED:
            detail = f"upright pictures of {size}: one side is {shape:.0f} times the other; at most {MOST_ELONGATED}"
            raise MediaError("too_large", detail)
        return stored_size(height, width, self._short_side)

    def _pixel_aspect(self) -> float:
        """What the container says, until the coded pictures say something new."""
        coded = float(self._context.sample_aspect_ratio or 1)
        if self._first_aspect is None:
            self._first_aspect = coded
        return self._aspect if coded == self._first_aspect else coded


def _decoder(media: MediaFile) -> av.VideoCodecContext:
    """FFmpeg's own decoder, but for transparent VP8 and VP9: it leaves out the transparency, which libvpx reads."""
    context = media.video.codec_context
    other = {"vp8": "libvpx", "vp9": "libvpx-vp9"}.get(context.name)
    if other is None or "alpha_mode" not in media.video.metadata:
        return context
    if other not in av.codecs_available:
        media.notes.append("what is transparent shows its hidden colours: this FFmpeg has no libvpx")
        return context
    decoder = av.CodecContext.create(other, "r")
    decoder.extradata = context.extradata
    return decoder


def _between(times: array, begin: float, end: float) -> int:
    known = np.asarray(times)
    return int(((known >= begin - TIME_TOLERANCE) & (known < end)).sum())

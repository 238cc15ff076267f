"""Decodes the wanted pictures of a stream and turns each into one small JPEG, upright and of square pixels."""

from __future__ import annotations

from collections.abc import Iterable

import av
import numpy as np
import simplejpeg
from av.sidedata.sidedata import Type as SideDataType
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

from pemt_tf.features.media_errors import MediaError
from pemt_tf.features.media_file import MOST_PIXELS, MediaFile
from pemt_tf.features.sampling import FramePicker, packets_to_decode

COLORSPACE_UNSPECIFIED = 2
SHORTEST_FRAME = 1e-6  # seconds
# The mean over the area that a small pixel covers: no aliasing, and the fastest. FFmpeg's SWS_ACCURATE_RND, which PyAV
# has no name for, takes away a bias of 2 to 4 levels towards green.
SCALING = int(Interpolation.AREA) | 0x40000
# Players take untagged video of this height or more for BT.709, smaller for BT.601.
HIGH_DEFINITION_HEIGHT = 720


class FrameClock:
    """Tells when a decoded picture is shown: FFmpeg's best-effort rule over its two timestamps.

    Normally the presentation stamp (`pts`) is right; where it goes backwards more often than the decoding stamp
    (`dts`) does, that one is believed. AVI files store no presentation times at all; what FFmpeg then reports as `pts`
    jumps back and forth where there are B-frames, so only `dts` counts there, less the delay of the decoder.
    """

    def __init__(self, frame_duration: float, first_dts: float | None = None) -> None:
        """Starts a clock.

        Args:
            frame_duration: seconds; used only where a picture has no usable stamp at all.
            first_dts: decoding stamp, seconds, of the first packet, where the container has no presentation times.
        """
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
            # The first picture comes out when the decoder has read enough; it is shown at the first packet's time.
            self._delay = dts - self._first_dts if self._delay is None else self._delay
            time = dts - self._delay
        if np.isnan(time):
            time = 0.0 if self._previous is None else self._previous + self._frame_duration
        elif self._previous is not None and time <= self._previous:
            time = self._previous + SHORTEST_FRAME  # as short as can be, so that later good stamps are not pushed away
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
        """Pictures were left out: later stamps have no relation to earlier ones."""
        self._last = {"pts": -np.inf, "dts": -np.inf}


class PictureReader:
    """Fed with the packets of the picture stream, keeps the JPEGs of the wanted moments.

    Attributes:
        jpegs: per moment, in ascending order of the moments; None where none is known (yet).
        times: [moments] timestamp of the picture, seconds.
        height, width: of the JPEGs, pixels.
        decoded, damaged_pictures, damaged_packets, fed: counts.
    """

    def __init__(self, media: MediaFile, moments: np.ndarray, short_side: int, quality: int) -> None:
        self._media, self._stream = media, media.video
        self._context = self._stream.codec_context
        self._context.thread_count = 1
        self._context.options = {"max_pixels": str(MOST_PIXELS)}
        index = media.video_index
        # Without presentation times a keyframe's stamp may be early by the decoder's delay: decode a little more.
        margins = (-0.5, 0.0, 0.5) if media.dts_only else (0.0,)
        around = np.concatenate([moments + margin for margin in margins])
        self._needed = packets_to_decode(index.times, index.keyframes, around)
        rate = self._stream.average_rate or self._stream.guessed_rate or 25
        self._clock = FrameClock(1.0 / float(rate), index.times[np.argmax(self._needed)] if media.dts_only else None)
        self._picker = FramePicker(moments)
        self._short_side, self._quality = short_side, quality
        self._scaler = VideoReformatter()
        self._ordinal = -1
        self._decoding = False
        self.jpegs: list[bytes | None] = [None] * len(moments)
        self.times = np.zeros(len(moments))
        self.height = self.width = 0
        self.decoded = self.damaged_pictures = self.damaged_packets = self.fed = 0
        self.last_error = ""

    def feed(self, packet: av.Packet) -> None:
        """Takes the next packet of the stream, in file order."""
        self._ordinal += 1
        if self._picker.finished:
            return
        if not self._needed[self._ordinal]:
            if self._decoding:
                self._decode(None)
                self._context.flush_buffers()
                self._clock.interrupted()
                self._decoding = False
            return
        self._decoding = True
        self.fed += 1
        self._decode(packet)

    def finish(self) -> None:
        """No more packets."""
        if self._decoding and not self._picker.finished:
            self._decode(None)
        self._keep(self._picker.finish())

    def _decode(self, packet: av.Packet | None) -> None:
        try:
            frames = self._context.decode(packet)
        except EOFError:
            return
        except MemoryError:
            raise MediaError("too_large", "decoding the pictures took more memory than is allowed") from None
        except (av.FFmpegError, ValueError) as error:
            self.damaged_packets += 1
            self.last_error = getattr(error, "strerror", None) or str(error)
            return
        for frame in frames:
            self.decoded += 1
            self.damaged_pictures += frame.is_corrupt
            seconds = self._media.seconds
            time = self._clock.time(seconds(frame.pts, self._stream), seconds(frame.dts, self._stream))
            self._keep(self._picker.push(time, frame))

    def _keep(self, shown: Iterable[tuple[float, av.VideoFrame, range]]) -> None:
        for time, frame, moments in shown:
            jpeg = self._jpeg(frame)
            for moment in moments:
                self.jpegs[moment] = jpeg
                self.times[moment] = time

    def _jpeg(self, frame: av.VideoFrame) -> bytes:
        turn = orientation(frame)
        if not self.height:
            aspect = float(self._stream.sample_aspect_ratio or 1)
            height, width = stored_size(frame.height, frame.width * aspect, self._short_side)
            self.height, self.width = (width, height) if turn[0] else (height, width)
        height, width = (self.width, self.height) if turn[0] else (self.height, self.width)
        planes = [turned(plane, turn) for plane in scaled_planes(self._scaler, frame, height, width)]
        return simplejpeg.encode_jpeg_yuv_planes(*planes, quality=self._quality)


def stored_size(height: float, width: float, short_side: int) -> tuple[int, int]:
    """Height and width with the given short side and the same aspect; both even, as 4:2:0 JPEGs need."""
    scale = short_side / min(height, width)
    return tuple(max(2, 2 * round(side * scale / 2)) for side in (height, width))


def scaled_planes(scaler: VideoReformatter, frame: av.VideoFrame, height: int, width: int) -> list[np.ndarray]:
    """The picture as full-range BT.601 4:2:0 planes, which is what JPEG means by YCbCr.

    Returns:
        Y [height, width], Cb and Cr [height / 2, width / 2], uint8.
    """
    source = None  # what the frame says
    if frame.colorspace == COLORSPACE_UNSPECIFIED:
        source = Colorspace.ITU709 if frame.height >= HIGH_DEFINITION_HEIGHT else Colorspace.ITU601
    small = scaler.reformat(
        frame,
        width=width,
        height=height,
        format="yuvj420p",
        src_colorspace=source,
        dst_colorspace=Colorspace.ITU601,
        dst_color_range=ColorRange.JPEG,
        interpolation=SCALING,
        threads=1,
    )
    planes = []
    for plane in small.planes:
        rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
        planes.append(rows[: plane.height, : plane.width])
    return planes


def orientation(frame: av.VideoFrame) -> tuple[bool, bool, bool]:
    """How the container wants the picture turned: transposed, then rows reversed, then columns reversed.

    FFmpeg's display matrix maps a pixel (x, y) to (a x + c y, b x + d y); the nearest of the eight turns and mirror
    images is taken.
    """
    matrix = frame.side_data.get(SideDataType.DISPLAYMATRIX)
    if matrix is None:
        return False, False, False
    a, b, _, c, d = np.frombuffer(matrix, np.int32)[:5].tolist()
    if abs(b) + abs(c) > abs(a) + abs(d):
        return True, b < 0, c < 0
    return False, d < 0, a < 0


def turned(plane: np.ndarray, turn: tuple[bool, bool, bool]) -> np.ndarray:
    """Applies an `orientation` to one plane, [height, width] uint8; contiguous, as the encoder needs."""
    transposed, rows, columns = turn
    plane = plane.T if transposed else plane
    return np.ascontiguousarray(plane[:: -1 if rows else 1, :: -1 if columns else 1])

"""From a decoded frame to a small one: upright, square pixels, full-range BT.601 planes as in JPEG.

High dynamic range (PQ and HLG, BT.2020) becomes standard range: BT.709, white at 203 cd/m2. That is done with NumPy on
frames that are already small: FFmpeg's own conversions need a library that the wheels lack, or seconds to set up. The
curve is that of Report ITU-R BT.2390 from 1000 cd/m2 to 203 cd/m2 (the reference white of Report ITU-R BT.2408): light
below 92 cd/m2 is kept, brighter light is compressed smoothly, and white comes out at 90 % of the code range.
"""

from __future__ import annotations

from functools import lru_cache

import av
import numpy as np
from av.filter import Graph
from av.sidedata.sidedata import Type as SideDataType
from av.video.plane import VideoPlane
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

COLORSPACE_UNSPECIFIED = 2
# The mean over the area that a small pixel covers: no aliasing, and the fastest. FFmpeg's SWS_ACCURATE_RND, which PyAV
# does not name, removes a bias of 2 to 4 levels towards green.
SCALING = int(Interpolation.AREA) | 0x40000
# Players assume BT.709 for untagged video of this height or more, BT.601 for smaller video.
HIGH_DEFINITION_HEIGHT = 720
SAME_SHAPE = 0.02  # relative difference of aspect ratios up to which shapes count as the same
BLACK = (0, 128, 128)
ROWS_AT_ONCE = 64  # of a transparent frame, so that large frames need little extra memory
PQ, HLG = 16, 18  # transfer characteristics of ITU-T H.273
BT709_PRIMARIES = 1
REFERENCE_WHITE = 203.0  # cd/m2
PEAK = 1000.0  # cd/m2; brighter light is clipped to it
DISPLAY_GAMMA = 2.4  # BT.1886
HLG_SYSTEM_GAMMA = 1.2  # BT.2100, for a display of 1000 cd/m2
LUMINANCE = np.array([0.2627, 0.6780, 0.0593], np.float32)  # BT.2020
# BT.2087, from BT.2020 to BT.709 in linear light
TO_BT709 = np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32)
_CODES = 4096  # steps of the table of light
_M1, _M2, _C1, _C2, _C3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128  # BT.2100, PQ

Turn = tuple[bool, bool, bool]  # see `orientation`


def _unnamed(kind: type[SideDataType], value: int) -> SideDataType:
    """A member for side data that PyAV has no name for, such as Exif.

    PyAV reads all side data of a frame at once and fails if one kind is unknown to it. FFmpeg keeps adding kinds, and
    data that is not needed here must not make a file undecodable.
    """
    member = object.__new__(kind)
    member._name_, member._value_ = f"UNNAMED_{value}", value
    return member


SideDataType._missing_ = classmethod(_unnamed)  # pyright: ignore[reportAttributeAccessIssue] - Python allows it


class FrameScaler:
    """Scales the decoded frames of one stream; keeps FFmpeg's contexts from frame to frame."""

    def __init__(self) -> None:
        self._scaler = VideoReformatter()
        self._converter = VideoReformatter()
        self._field: tuple[tuple, Graph] | None = None
        self._turn: Turn | None = None

    def turn(self, frame: av.VideoFrame) -> Turn:
        """The `orientation` of the stream, read from its first frame.

        Reading it from every frame would cost memory: in PyAV a frame and its `side_data` refer to each other, so each
        such frame stays until Python's cyclic garbage collection, hundreds of megabytes later.
        """
        if self._turn is None:
            self._turn = orientation(frame)
        return self._turn

    def planes(self, frame: av.VideoFrame, aspect: float, height: int, width: int) -> list[np.ndarray]:
        """Scales one frame, whose pixels are `aspect` times as wide as high, to an even size in pixels.

        A frame of another shape is fitted in, with black beside it. Gives Y [height, width], Cb and Cr [height / 2,
        width / 2], uint8, contiguous.
        """
        turn = self.turn(frame)
        inner_height, inner_width = _fitted(*display_size(frame, aspect, turn), height, width)
        across, up = (inner_height, inner_width) if turn[0] else (inner_width, inner_height)
        planes = [turned(plane, turn) for plane in self._small(frame, across, up)]
        if (inner_height, inner_width) == (height, width):
            return planes
        return _on_black(planes, height, width)

    def _small(self, frame: av.VideoFrame, width: int, height: int) -> list[np.ndarray]:
        source = None  # what the frame says
        if frame.colorspace == COLORSPACE_UNSPECIFIED:
            source = Colorspace.ITU709 if frame.height >= HIGH_DEFINITION_HEIGHT else Colorspace.ITU601
        if frame.interlaced_frame:
            frame = self._first_field(frame)
        if _has_alpha(frame.format.name):
            frame, source = self._over_black(frame, source), None
        size = {"width": width, "height": height, "interpolation": SCALING, "threads": 1}
        if frame.color_trc in (PQ, HLG):
            deep = self._converter.reformat(frame, format="rgb48le", src_colorspace=source, **size)
            coded = pixels(deep.planes[0], np.uint16, 3)
            frame = av.VideoFrame.from_ndarray(tone_mapped(coded, frame.color_trc, frame.color_primaries), "rgb24")
            source = None
        small = self._scaler.reformat(
            frame,
            format="yuvj420p",
            src_colorspace=source,
            dst_colorspace=Colorspace.ITU601,
            dst_color_range=ColorRange.JPEG,
            **size,
        )
        return [pixels(plane, np.uint8) for plane in small.planes]

    def _over_black(self, frame: av.VideoFrame, source: Colorspace | None) -> av.VideoFrame:
        """A transparent frame on black, at full size: scaled first, hidden colours would leak out."""
        is_deep = frame.color_trc in (PQ, HLG)
        kind, name = (np.uint16, "rgb48le") if is_deep else (np.uint8, "rgb24")
        clear = self._converter.reformat(
            frame, format="rgba64le" if is_deep else "rgba", src_colorspace=source, interpolation=SCALING, threads=1
        )
        rgba, full = pixels(clear.planes[0], kind, 4), np.iinfo(kind).max
        opaque: np.ndarray = np.empty((*rgba.shape[:2], 3), kind)
        for top in range(0, len(rgba), ROWS_AT_ONCE):
            rows = slice(top, top + ROWS_AT_ONCE)
            opaque[rows] = (rgba[rows, :, :3].astype(np.uint32) * rgba[rows, :, 3:] + full // 2) // full
        shown = av.VideoFrame.from_ndarray(opaque, name)
        shown.color_trc, shown.color_primaries = frame.color_trc, frame.color_primaries
        return shown

    def _first_field(self, frame: av.VideoFrame) -> av.VideoFrame:
        """Every other line, from the top: the frame at one moment. A view; costs microseconds."""
        kind = (frame.format.name, frame.width, frame.height)
        if self._field is None or self._field[0] != kind:
            graph = Graph()
            source = graph.add_buffer(
                width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
            )
            graph.link_nodes(source, graph.add("field", "top"), graph.add("buffersink")).configure()
            self._field = kind, graph
        graph = self._field[1]
        graph.push(frame)
        field = graph.pull()
        assert isinstance(field, av.VideoFrame)
        for name in ("colorspace", "color_range", "color_trc", "color_primaries"):
            setattr(field, name, getattr(frame, name))
        return field


def display_size(frame: av.VideoFrame, aspect: float, turn: Turn) -> tuple[float, float]:
    """Height and width of the upright frame with square pixels."""
    height, width = float(frame.height), frame.width * aspect
    return (width, height) if turn[0] else (height, width)


def stored_size(height: float, width: float, short_side: int) -> tuple[int, int]:
    """Height and width with the given short side and the same aspect; both even, as 4:2:0 JPEGs need."""
    scale = short_side / min(height, width)
    return _even(height * scale), _even(width * scale)


def orientation(frame: av.VideoFrame) -> Turn:
    """How the container wants the frame turned: transposed, then rows reversed, then columns reversed.

    FFmpeg's display matrix maps a pixel (x, y) to (a x + c y, b x + d y); the nearest of the eight turns and mirror
    images is used.
    """
    # PyAV's hints know no keys but text.
    matrix = frame.side_data.get(SideDataType.DISPLAYMATRIX)  # pyright: ignore[reportCallIssue, reportArgumentType]
    if matrix is None:
        return False, False, False
    a, b, _, c, d = np.frombuffer(matrix, np.int32)[:5].tolist()
    if abs(b) + abs(c) > abs(a) + abs(d):
        return True, b < 0, c < 0
    return False, d < 0, a < 0


def turned(plane: np.ndarray, turn: Turn) -> np.ndarray:
    """Applies an `orientation` to one plane, [height, width] uint8; contiguous, as the encoder needs."""
    transposed, rows, columns = turn
    plane = plane.T if transposed else plane
    return np.ascontiguousarray(plane[:: -1 if rows else 1, :: -1 if columns else 1])


def pixels(plane: VideoPlane, dtype: type, channels: int = 1) -> np.ndarray:
    """A view of a plane: [height, width], or [height, width, channels] where there are several."""
    # A plane is a buffer, though PyAV's hints do not say so.
    values = np.frombuffer(plane, dtype)  # pyright: ignore[reportCallIssue, reportArgumentType]
    rows = values.reshape(-1, plane.line_size // np.dtype(dtype).itemsize)
    rows = rows[: plane.height, : plane.width * channels]
    return rows if channels == 1 else rows.reshape(*rows.shape[:1], -1, channels)


def _even(side: float) -> int:
    return max(2, 2 * round(side / 2))


def _fitted(shown_height: float, shown_width: float, height: int, width: int) -> tuple[int, int]:
    """The largest size of the same shape that fits in; the whole where the shapes differ only by rounding."""
    if abs(shown_width * height / (shown_height * width) - 1) < SAME_SHAPE + 2 / min(height, width):
        return height, width
    scale = min(height / shown_height, width / shown_width)
    return min(height, _even(shown_height * scale)), min(width, _even(shown_width * scale))


def _on_black(planes: list[np.ndarray], height: int, width: int) -> list[np.ndarray]:
    top, left = ((whole - part) // 4 * 2 for whole, part in zip((height, width), planes[0].shape, strict=True))
    framed = []
    for plane, level, shrink in zip(planes, BLACK, (1, 2, 2), strict=True):
        canvas = np.full((height // shrink, width // shrink), level, np.uint8)
        rows, columns = (
            slice(first // shrink, first // shrink + part) for first, part in zip((top, left), plane.shape, strict=True)
        )
        canvas[rows, columns] = plane
        framed.append(canvas)
    return framed


@lru_cache(maxsize=256)
def _has_alpha(name: str) -> bool:
    kind = av.VideoFormat(name)
    return kind.has_palette or any(component.is_alpha for component in kind.components)


def tone_mapped(rgb: np.ndarray, transfer: int, primaries: int) -> np.ndarray:
    """[height, width, 3] uint16 of high dynamic range, full range as coded, to uint8 for a BT.1886 display.

    `transfer` is `PQ` or `HLG`; all primaries (numbers of ITU-T H.273) but BT.709 are treated as BT.2020.
    """
    light = _light(transfer)[rgb >> 4]
    if transfer == HLG:
        luminance = light @ LUMINANCE
        light *= (PEAK * luminance ** (HLG_SYSTEM_GAMMA - 1))[..., None]
    brightest = np.minimum(light.max(axis=-1), PEAK)
    light *= _gain()[np.rint(brightest).astype(np.int32)][..., None] / np.float32(REFERENCE_WHITE)
    if primaries != BT709_PRIMARIES:
        light = light @ TO_BT709.T
    return np.rint(255 * np.clip(light, 0, 1) ** np.float32(1 / DISPLAY_GAMMA)).astype(np.uint8)


@lru_cache(maxsize=2)
def _light(transfer: int) -> np.ndarray:
    """[codes] float32: PQ gives light on the display, cd/m2; HLG light of the scene, 0 to 1."""
    code = np.arange(_CODES) / (_CODES - 1)
    if transfer == PQ:
        return np.minimum(_light_of_pq(code), PEAK).astype(np.float32)
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(code <= 0.5, code**2 / 3, (np.exp((code - c) / a) + b) / 12).astype(np.float32)


def _pq(light: np.ndarray | float) -> np.ndarray:
    power = (np.asarray(light) / 10_000) ** _M1
    return ((_C1 + _C2 * power) / (1 + _C3 * power)) ** _M2


def _light_of_pq(code: np.ndarray) -> np.ndarray:
    root = code ** (1 / _M2)
    return 10_000 * (np.maximum(root - _C1, 0) / (_C2 - _C3 * root)) ** (1 / _M1)


@lru_cache(maxsize=1)
def _gain() -> np.ndarray:
    """[1001] float32: factors for light of 0 to 1000 cd/m2; BT.2390, section 5.4.1."""
    light = np.arange(PEAK + 1)
    code = _pq(light) / _pq(PEAK)
    largest = _pq(REFERENCE_WHITE) / _pq(PEAK)
    knee = 1.5 * largest - 0.5
    t = np.clip((code - knee) / (1 - knee), 0, 1)
    rolled = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (3 * t**2 - 2 * t**3) * largest
    mapped = _light_of_pq(rolled * _pq(PEAK))
    return np.where(code > knee, mapped / np.maximum(light, 1), 1.0).astype(np.float32)

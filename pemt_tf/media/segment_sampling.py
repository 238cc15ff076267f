"""Which moments of a clip become its segments and frames: pure functions of times in seconds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from pemt_tf.config import ClipGeometry

# Containers with millisecond clocks round 66.67 ms up to 67 ms; such a frame is still the one shown at 66.67 ms.
TIME_TOLERANCE = 1e-3
T = TypeVar("T")


def uniform_segments(start: float, end: float, geometry: ClipGeometry) -> np.ndarray:
    """[segments] start times, seconds, spread evenly over a clip: the first at its start, the last ending at its end.

    A clip shorter than one segment gives segments that all begin at its start.
    """
    free = max(end - start - geometry.segment_seconds, 0.0)
    steps = max(geometry.segments - 1, 1)
    return start + free * np.arange(geometry.segments) / steps


def frame_moments(segment_starts: np.ndarray, geometry: ClipGeometry) -> np.ndarray:
    """[segments, frames] float64, seconds: the moments at which frames are wanted."""
    offsets = np.arange(geometry.frames_per_segment) / geometry.frame_rate
    return np.asarray(segment_starts)[:, None] + offsets[None, :]


@dataclass(frozen=True)
class ClipSampling:
    """When a clip and its segments and frames are, seconds."""

    start: float
    end: float
    segment_starts: np.ndarray  # [segments]
    moments: np.ndarray  # [segments, frames]


def sample_clip(start: float, end: float, geometry: ClipGeometry) -> ClipSampling:
    """Spreads segments evenly over a clip from `start` to `end` seconds."""
    starts = uniform_segments(start, end, geometry)
    return ClipSampling(start, end, starts, frame_moments(starts, geometry))


def window_starts(start: float, end: float, seconds: float, stride: float, slack: float = 0.0) -> np.ndarray:
    """[windows] when windows of `seconds` begin, every `stride` seconds; a remainder shorter than a window is dropped.

    The last window may reach beyond the end by `slack` seconds.
    """
    # The billionth forgives rounding: 0.3 s hold three windows of 0.1 s.
    count = int(np.floor((end - start - seconds + slack) / stride + 1e-9)) + 1
    return start + stride * np.arange(max(count, 0))


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


def packets_to_decode(
    times: np.ndarray, keyframes: np.ndarray, moments: Iterable[float], shortest_skip: int = 50
) -> np.ndarray:
    """[packets] bool: which must be decoded to see the wanted moments, seconds.

    Decoding can only begin at a keyframe, and ends with the last wanted frame of a group. Gaps of fewer than
    `shortest_skip` packets are not worth an interruption of the decoder and are decoded too. `times` are [packets]
    presentation times in decoding order, seconds; NaN where unknown.
    """
    count = len(times)
    heads = np.flatnonzero(keyframes)
    if np.isnan(times).any() or not len(heads):
        return np.ones(count, bool)
    heads[0] = 0  # what precedes the first keyframe belongs to it
    borders = np.append(heads, count)
    shown_from = np.maximum.accumulate(times[heads])
    wanted = np.sort(np.asarray(list(moments), np.float64)) + TIME_TOLERANCE
    groups = np.maximum(np.searchsorted(shown_from, wanted, side="right") - 1, 0)
    needed = np.zeros(count, bool)
    for group, next_group in _runs(groups):
        first, end = borders[group], borders[group + 1]
        # Frames stored after the next keyframe but shown before it (an open group of pictures) belong to this one.
        if group + 1 < len(heads) and times[end : borders[group + 2]].min() < shown_from[group + 1]:
            end = borders[group + 2]
        # Everything stored until the last wanted frame, whose references are stored before it.
        shown = np.flatnonzero(times[first:end] <= wanted[next_group - 1])
        needed[first : first + shown[-1] + 1 if len(shown) else end] = True
    return _without_short_gaps(needed, shortest_skip)


def _runs(groups: np.ndarray) -> Iterator[tuple[int, int]]:
    """Each distinct value of an ascending row, with the index after its last occurrence."""
    values, first = np.unique(groups, return_index=True)
    return zip(values.tolist(), [*first[1:].tolist(), len(groups)], strict=True)


def _without_short_gaps(needed: np.ndarray, shortest: int) -> np.ndarray:
    edges = np.flatnonzero(np.diff(needed.astype(np.int8), prepend=0, append=0))
    ends, next_starts = edges[1:-1:2], edges[2::2]
    for end, start in zip(ends, next_starts, strict=True):
        if start - end < shortest:
            needed[end:start] = True
    return needed

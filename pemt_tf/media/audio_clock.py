"""When decoded audio is heard: by the running count of its samples, and by timestamps only where they are reliable.

Containers round timestamps, some jitter from packet to packet, some stall. Decoded audio tells its own length exactly,
so a gap counts only where the timestamps stay ahead of the sample count.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field

import av
import numpy as np

from pemt_tf.media.packet_index import StreamIndex

GAP_TOLERANCE = 0.01  # seconds; timestamps that are steady to this are exact, and smaller gaps are rounding
JITTER_TOLERANCE = 0.1  # seconds; where timestamps jitter, smaller gaps do not count
LASTING = 10.0  # seconds that a gap must last to count
STEADY_SIDES = 31  # packets before and after one by which its timestamp is judged
TOO_SLOW = 0.9  # audio cannot overlap: timestamps that span less than this share of its length are wrong
DRIFT = 0.02  # share by which clocks may differ


def is_irregular(index: StreamIndex, frame_seconds: float) -> bool:
    """Whether a stream's timestamps do not follow the lengths of its packets, so that they could look like gaps.

    `frame_seconds` is the codec's length of one packet; 0 where it is unknown or varies.
    """
    times = index.times
    if len(times) < 3 or np.isnan(times).any():
        return False
    lengths = np.where(index.durations > 0, index.durations, index.typical)[:-1]
    passed, counted = times[1:] - times[0], np.cumsum(lengths)
    if frame_seconds and abs(passed[-1] / (len(passed) * frame_seconds) - 1) > DRIFT:
        return True
    # Durations are rounded as well, so their sum is scaled.
    return counted[-1] > 0 and np.ptp(passed - counted * (passed[-1] / counted[-1])) > GAP_TOLERANCE


@dataclass
class DecodedFrames:
    """The audio frames that packets gave."""

    stamps: list[int | None] = field(default_factory=list)  # timestamps, in the stream's units; None where unknown
    seconds: list[float] = field(default_factory=list)  # length of each frame by its samples
    packets: list[int] = field(default_factory=list)  # number of the packet with which each frame came out


def decoded_frames(context: av.AudioCodecContext, packets: Iterable[av.Packet]) -> DecodedFrames:
    """Decodes packets; skips damaged ones, as `AudioReader` does."""
    context.thread_count = 1
    frames = DecodedFrames()
    for number, packet in enumerate(itertools.chain(packets, [None])):
        try:
            for frame in context.decode(packet):
                frames.stamps.append(frame.pts)
                frames.seconds.append(frame.samples / frame.sample_rate)
                frames.packets.append(number)
        except (av.FFmpegError, ValueError, MemoryError):
            continue
    return frames


def place(times: np.ndarray, seconds: np.ndarray, length: float = np.nan, always_gapless: bool = False) -> np.ndarray:
    """When each decoded frame of audio begins: [frames] seconds, gapless except for gaps that last.

    `times`, [frames], are timestamps, seconds, NaN where unknown; `seconds` are lengths by the samples, `length` is the
    video's (NaN without video). `always_gapless`: the container counts audio samples and cannot store gaps.
    """
    if not len(times):
        return times
    counted = np.cumsum(seconds) - seconds
    offsets = _filled(times - counted)
    if _tell_nothing(offsets, counted, float(seconds[-1]), length, always_gapless):
        return offsets[0] + counted
    placed = np.empty(len(times))
    for first, after in _runs(offsets, seconds):
        run = offsets[first:after]
        exact = np.abs(run - run[0]).max() <= GAP_TOLERANCE
        # Jitter must not push the first audio of a file before its start.
        offset = run[0] if exact else max(np.median(run), -counted[first])
        placed[first:after] = counted[first:after] + offset
    return placed


def follow(times: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """As `place`, by timestamps alone; differences of up to `GAP_TOLERANCE` are treated as gapless."""
    placed, end = [], np.nan
    for time, length in zip(times.tolist(), seconds.tolist(), strict=True):
        start = end if np.isnan(time) or abs(time - end) <= GAP_TOLERANCE else time
        placed.append(start)
        end = start + length
    return np.array(placed)


def _tell_nothing(offsets: np.ndarray, counted: np.ndarray, last: float, length: float, always_gapless: bool) -> bool:
    """Whether timestamps run at another speed than their audio, and the audio is right."""
    total, excess = counted[-1] + last, offsets[-1] - offsets[0]
    if total + excess < TOO_SLOW * total:
        return True
    astray = np.abs(offsets - offsets[0] - excess * counted / max(counted[-1], last)).max()
    if abs(excess) < max(DRIFT * total, GAP_TOLERANCE) or astray > 0.3 * abs(excess):
        return False  # clocks differ a little, or there are gaps at certain places
    if np.isnan(length):
        return excess < 0 or always_gapless
    return abs(total - length) < abs(total + excess - length)


def _filled(offsets: np.ndarray) -> np.ndarray:
    known = np.flatnonzero(~np.isnan(offsets))
    if not len(known):
        return np.zeros(len(offsets))
    return offsets[known[np.maximum(np.searchsorted(known, np.arange(len(offsets)), side="right") - 1, 0)]]


def _runs(offsets: np.ndarray, seconds: np.ndarray) -> list[tuple[int, int]]:
    """The runs of frames without a gap: first frame and the one after the last."""
    level = _running_median(offsets, STEADY_SIDES)
    # A small gap is one where the timestamps are steady before it and after it.
    ahead, behind = _spread_ahead(offsets), _spread_ahead(offsets[::-1])[::-1]
    rough = np.maximum(ahead, np.concatenate([[0.0], behind[:-1]]))
    tolerance = np.where(rough <= GAP_TOLERANCE / 2, GAP_TOLERANCE, JITTER_TOLERANCE)
    horizon = max(int(LASTING / max(float(np.median(seconds)), 1e-3)), 1)
    lowest, highest = _ahead(level, horizon, np.minimum), _ahead(level, horizon, np.maximum)
    runs, first = [], 0
    while first < len(offsets):
        after = _first_beyond(lowest, highest, tolerance, level[first], first)
        runs.append((first, after))
        first = after
    return runs


def _spread_ahead(offsets: np.ndarray) -> np.ndarray:
    return _ahead(offsets, STEADY_SIDES, np.maximum) - _ahead(offsets, STEADY_SIDES, np.minimum)


def _first_beyond(
    lowest: np.ndarray, highest: np.ndarray, tolerance: np.ndarray, level: float, first: int, block: int = 4096
) -> int:
    for begin in range(first + 1, len(lowest), block):
        here = slice(begin, begin + block)
        beyond = (lowest[here] - level > tolerance[here]) | (highest[here] - level < -tolerance[here])
        if beyond.any():
            return begin + int(beyond.argmax())
    return len(lowest)


def _running_median(values: np.ndarray, sides: int, block: int = 16_384) -> np.ndarray:
    """The median of each value and `sides` on either side; near the ends, of as many as both sides have."""
    level = values.copy()
    if len(values) > 2 * sides:
        around = np.lib.stride_tricks.sliding_window_view(values, 2 * sides + 1)
        for at in range(0, len(around), block):
            level[sides + at : sides + at + block][: len(around) - at] = np.median(around[at : at + block], axis=1)
    for near in range(1, min(sides, (len(values) + 1) // 2)):
        level[near], level[-1 - near] = np.median(values[: 2 * near + 1]), np.median(values[-2 * near - 1 :])
    return level


def _ahead(values: np.ndarray, count: int, extreme: np.ufunc) -> np.ndarray:
    """The extreme of each value and up to `count` after it."""
    found, width = values.copy(), 1
    while width <= count:
        step = min(width, count + 1 - width)
        if step >= len(found):
            return extreme.accumulate(values[::-1])[::-1]
        found[:-step] = extreme(found[:-step], found[step:])
        width += step
    return found

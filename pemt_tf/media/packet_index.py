"""What the packets of a stream tell: when each is shown, when it ends, where timestamps restart, what to decode."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import av
import numpy as np

# Joined files (`cat a.ts b.ts`): within one file decoding stamps never fall, except damaged ones for a packet or two.
SMALLEST_FALL = 0.5  # seconds; in a part shorter than twice that, half of the part
FEW_LATE = 3  # packets after the join of a stream that ends with the first part
LATE_PACKETS = 1.0  # seconds by which one stream of a part may be longer than the other
LONGEST_AUDIO_PACKET = 10  # times the average length of a packet
LONGEST_HELD = 6 * 3600.0  # seconds that a single frame may be shown; broken durations have 2**32 ticks
SLOW = 1.0  # seconds per frame above which video is a slide show
# Containers with millisecond clocks round 66.67 ms up to 67 ms; such a frame is still the one shown at 66.67 ms.
TIME_TOLERANCE = 1e-3
LONGEST_HOLE = 60.0  # seconds without a packet that may be intended


@dataclass
class StreamIndex:
    """The packets of one stream, in decoding order."""

    times: np.ndarray  # [packets] presentation times, seconds; NaN where unknown
    durations: np.ndarray  # [packets] seconds; 0 where unknown
    keyframes: np.ndarray  # [packets] bool
    start: float  # first and last moment, seconds; NaN where no packet has a time
    end: float
    encrypted: int  # number of packets; 1 where a transport stream is scrambled, which hides its packets

    @property
    def typical(self) -> float:
        """Seconds from one packet to the next on average; 0 where there are not two."""
        known = self.times[~np.isnan(self.times)]
        return float(np.ptp(known)) / (len(known) - 1) if len(known) > 1 else 0.0


@dataclass
class PacketList:
    """Notes on a stream's packets, taken as they are read."""

    is_audio: bool = False
    times: list[float] = field(default_factory=list)
    stamps: list[float] = field(default_factory=list)  # decoding times, seconds
    places: list[int] = field(default_factory=list)  # among the packets of all streams, in file order
    durations: list[float] = field(default_factory=list)
    hidden: list[bool] = field(default_factory=list)
    keyframes: list[bool] = field(default_factory=list)
    encrypted: list[bool] = field(default_factory=list)

    def add(self, packet: av.Packet, place: int, time: float, stamp: float, unit: float) -> None:
        """Notes the next packet, its `place` among those of all streams, and when it is shown and decoded, seconds.

        Unknown times are NaN; `unit` is the length of a tick of its duration, seconds.
        """
        self.times.append(time)
        self.stamps.append(stamp)
        self.places.append(place)
        self.durations.append((packet.duration or 0) * unit)
        self.hidden.append(packet.is_discard)  # cut away by the file's edit list: decoded but not shown
        self.keyframes.append(packet.is_keyframe)
        self.encrypted.append(packet.has_sidedata("encryption_info"))

    def index(self, count: int | None = None) -> StreamIndex:
        """The index of the first `count` packets, by default of all."""
        times, durations = np.array(self.times[:count], np.float64), np.array(self.durations[:count], np.float64)
        shown = ~np.isnan(times) & ~np.array(self.hidden[:count], bool)
        start = end = np.nan
        if shown.any():
            start, end = times[shown].min(), _end(times[shown], durations[shown], self.is_audio)
        keyframes = np.array(self.keyframes[:count], bool)
        return StreamIndex(times, durations, keyframes, float(start), float(end), sum(self.encrypted[:count]))


def _end(times: np.ndarray, durations: np.ndarray, is_audio: bool) -> float:
    """When a stream's last packet ends, seconds; without a plausible duration it has the average one."""
    last = times.max()
    length = last - times.min()
    typical = length / (len(times) - 1) if len(times) > 1 else 0.0
    longest = LONGEST_HELD if len(times) == 1 else max(LONGEST_HOLE, 2 * length)
    if is_audio and len(times) > 1:
        believed = durations[durations < LONGEST_HELD]
        longest = LONGEST_AUDIO_PACKET * max(typical, float(np.median(believed)) if len(believed) else 0.0)
    stated = durations[times == last].max()
    return last + (stated if 0 < stated <= longest else typical)


def hold_slides(video: StreamIndex, audio: StreamIndex) -> None:
    """Lets slides last as long as the audio under them shows that time passes.

    No other slide ends the last one; a duration that is stored or guessed for it, beyond the end of the audio, would be
    a held frame in silence. A single slide is shown from the start of the audio.
    """
    times = video.times[~np.isnan(video.times)]
    if not len(times) or np.isnan(audio.end):
        return
    last, slides = times.max(), len(times) == 1 or video.typical > SLOW
    if abs(audio.end - video.end) > SLOW and (slides or video.end - last > SLOW):
        longest = audio.end if audio.end > last else last + SLOW
        video.end = longest if slides else min(video.end, longest)
    if len(times) == 1 and audio.start < video.start - SLOW:
        video.start = max(audio.start, 0.0)


def restart(stamps: np.ndarray) -> int | None:
    """The packet at which timestamps restart, as in joined files; None without one.

    `stamps` are [packets] decoding times in file order, seconds; NaN where unknown.
    """
    known = np.flatnonzero(~np.isnan(stamps))
    if len(known) < 3:
        return int(known[1]) if len(known) == 2 and stamps[known[1]] < stamps[known[0]] - SMALLEST_FALL else None
    # A median over five packets (three of a short stream) passes over single wild stamps and moves no fall.
    side = 2 if len(known) >= 20 else 1
    around = np.lib.stride_tricks.sliding_window_view(np.pad(stamps[known], side, mode="reflect"), 2 * side + 1)
    level = np.median(around, axis=1)
    steps = np.diff(level)
    rises = steps[steps > 0]
    step = float(np.median(rises)) if len(rises) else 0.0
    enough = np.maximum(np.minimum(SMALLEST_FALL, 0.5 * (level[:-1] - level[0])), max(1.5 * step, 0.1))
    falls = np.flatnonzero(-steps > enough)
    return int(known[falls[0] + 1]) if len(falls) else None


def first_part(lists: dict[int, PacketList], formats: set[str]) -> dict[int, int] | None:
    """How many packets of each stream belong to the first of several joined files; None for a single file."""
    counts = _before_restart(lists)
    if counts is None and formats & {"mpegts", "mpeg"}:
        counts = _before_other_streams(lists)
    if counts is not None and "ogg" in formats:
        # The first packet of a new part still comes with the time at which the part before it ended.
        counts = {number: max(count - 1, 1) for number, count in counts.items()}
    return counts


def _before_restart(lists: dict[int, PacketList]) -> dict[int, int] | None:
    """The packets of `first_part` where timestamps restart."""
    restarts = {number: restart(np.array(packets.stamps, np.float64)) for number, packets in lists.items()}
    ends = {number: first for number, first in restarts.items() if first is not None}
    if not ends:
        return None
    earliest = min(ends, key=lambda number: lists[number].places[ends[number]])
    join, ended = lists[earliest].places[ends[earliest]], _latest(lists[earliest].stamps[: ends[earliest]])
    counts = {}
    for number, packets in lists.items():
        before, own = int(np.searchsorted(packets.places, join)), restarts[number]
        # The other stream's last packets of the first part may be stored after the join.
        end = len(packets.stamps) if own is None and len(packets.stamps) - before <= FEW_LATE else own
        late = end is not None and end > before and _latest(packets.stamps[before:end]) <= ended + LATE_PACKETS
        # A stream of the second part only may begin a little before the other one restarts.
        new = own is None and 0 < before < len(packets.stamps) and packets.stamps[before - 1] < ended - LATE_PACKETS
        counts[number] = 0 if new else end if late and end is not None else before
    return counts


def _before_other_streams(lists: dict[int, PacketList]) -> dict[int, int] | None:
    """The packets of `first_part` where the parts number their streams differently: one begins when the other is over.

    For formats that are written as time passes: their streams alternate at least every second or so.
    """
    streams = [number for number, packets in lists.items() if packets.stamps]
    if len(streams) < 2:
        return None
    early, late = sorted(streams, key=lambda number: lists[number].places[0])
    stamps = np.array(lists[early].stamps, np.float64)
    first, last = np.nanmin(stamps, initial=np.inf), np.nanmax(stamps, initial=-np.inf)
    behind = lists[early].places[max(len(stamps) - 1 - FEW_LATE, 0)] < lists[late].places[0]
    starts_anew = lists[late].stamps[0] < last - max(2 * LATE_PACKETS, 0.5 * (last - first))
    is_part = behind and starts_anew and len(lists[late].stamps) > FEW_LATE
    return {early: len(stamps), late: 0} if is_part else None


def rising_seconds(stamps: list[float]) -> float:
    """Total length of packets that may come from several joined files, seconds."""
    known = np.array(stamps, np.float64)
    known = known[~np.isnan(known)]
    parts = np.split(known, np.flatnonzero(np.diff(known) < -SMALLEST_FALL) + 1)
    return float(sum(np.ptp(part) for part in parts if len(part)))


def _latest(stamps: list[float]) -> float:
    return float(np.fmax.reduce(np.array(stamps, np.float64), initial=-np.inf))


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

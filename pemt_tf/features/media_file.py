"""Opens a media file, chooses its picture and sound streams and lists their compressed packets.

Listing costs about 2 microseconds a packet and no decoding, and tells what is truly in the file: headers lie when a
file was cut, and some have no duration at all. All times are seconds on one clock, the container's, counted from
its start; so pictures and sound stay together whatever each stream's own start is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

import av
import numpy as np
from av.stream import Disposition

from pemt_tf.features.container import SingleFile, encrypted_packets, message_of, open_container
from pemt_tf.features.field_pictures import SecondFields
from pemt_tf.features.media_errors import MediaError

LARGEST_SIDE = 16_384
MOST_PIXELS = 64 * 2**20
KEPT_BYTES = 64 * 2**20  # compressed packets kept in memory between listing and decoding
SEEK_MARGIN = 2.0  # seconds before the wanted start; gives sound decoders time to settle
# Their headers state durations exactly; elsewhere (raw AAC, MP3) FFmpeg guesses from the bit rate.
EXACT_DURATION = {"mov", "matroska", "avi", "flv", "asf", "wav", "ogg"}


@dataclass
class StreamIndex:
    """The packets of one stream, in decoding order.

    Attributes:
        times: [packets] presentation times, seconds; NaN where unknown.
        keyframes: [packets] bool.
        start, end: first and last moment, seconds; NaN where no packet has a time.
        encrypted: packets that are encrypted; 1 where a transport stream is scrambled, which hides its packets.
    """

    times: np.ndarray
    keyframes: np.ndarray
    start: float
    end: float
    encrypted: int


@dataclass
class _PacketList:
    """What is noted of a stream's packets while they pass."""

    times: list[float] = field(default_factory=list)
    durations: list[float] = field(default_factory=list)
    hidden: list[bool] = field(default_factory=list)
    keyframes: list[bool] = field(default_factory=list)
    encrypted: int = 0

    def add(self, packet: av.Packet, time: float, unit: float) -> None:
        self.times.append(time)
        self.durations.append((packet.duration or 0) * unit)
        self.hidden.append(packet.is_discard)  # cut away by the file's edit list: decoded but not shown
        self.keyframes.append(packet.is_keyframe)
        self.encrypted += packet.has_sidedata("encryption_info")

    def index(self) -> StreamIndex:
        times = np.array(self.times, np.float64)
        shown = ~np.isnan(times) & ~np.array(self.hidden, bool)
        known = np.sort(times[shown])
        start = end = np.nan
        if len(known):
            # A last packet without a duration lasts as long as packets do on average.
            typical = (known[-1] - known[0]) / (len(known) - 1) if len(known) > 1 else 0.0
            latest = (times + np.array(self.durations))[shown].max()
            start, end = known[0], latest if latest > known[-1] else known[-1] + typical
        return StreamIndex(times, np.array(self.keyframes, bool), float(start), float(end), self.encrypted)


class MediaFile:
    """One open media file. Use it as a context manager.

    Attributes:
        video, audio: the chosen streams, or None.
        video_index, audio_index: their packets; empty until `index` is called.
        second_fields: [packets] bool, of the pictures: those that complete the picture before (`SecondFields`).
        declared_end: end of the whole according to the header, seconds; None where it cannot be trusted.
        duration: seconds, as well as it is known.
        dts_only: the container stores no presentation times.
        notes: what is worth telling about the file.
    """

    def __init__(
        self, source: str | BinaryIO, video_stream: int | None = None, audio_stream: int | None = None
    ) -> None:
        """Opens the file and chooses streams.

        Args:
            source: a local path, or a seekable binary file.
            video_stream, audio_stream: number among the streams of pictures (cover art does not count) and of sound,
                from 0; None takes the file's default.

        Raises:
            MediaError: it cannot be opened, or has no such streams.
        """
        self._source = source
        self._numbers = video_stream, audio_stream
        self._kept: list[av.Packet] | None = []
        self._seek_to: float | None = None
        self._until: float | None = None
        self.notes: list[str] = []
        self.video_index = self.audio_index = _PacketList().index()
        self.second_fields = np.zeros(0, bool)
        self._container = self._file = None
        try:
            self._open()
        except BaseException:
            self._close()
            raise

    def __enter__(self) -> MediaFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._kept = None
        self._close()

    def _open(self) -> None:
        self._file = SingleFile(self._source)
        self._container, said = open_container(self._file)
        container = self._container
        self._base = (container.start_time or 0) / av.time_base
        self.dts_only = "avi" in container.format.name.split(",")
        best = container.streams.best
        self.video = _choose("picture", container.streams.video, best("video"), self._numbers[0])
        self.audio = _choose("sound", container.streams.audio, best("audio", related=self.video), self._numbers[1])
        if self.video is None and self.audio is None:
            raise MediaError("no_streams", f"{len(container.streams)} streams, none with pictures or sound")
        if self.video is not None and self.video.codec_context is not None:
            _check_size(self.video.width, self.video.height, said)
        # Plain numbers: a Fraction for every packet and frame would cost more than the rest of the bookkeeping.
        bases = {stream.index: stream.time_base for stream in (self.video, self.audio) if stream is not None}
        self._units = {index: (base.numerator, base.denominator) for index, base in bases.items()}
        self.declared_end = self._declared_end()

    def _declared_end(self) -> float | None:
        formats = set(self._container.format.name.split(","))
        if not EXACT_DURATION & formats or not self._container.duration:
            return None
        declared = self._container.duration / av.time_base
        if self.dts_only and self.video is not None and self.video.average_rate:
            # FFmpeg shortens the duration of a cut AVI file to what is there; the count of frames is the header's.
            declared = max(declared, self.video.frames / float(self.video.average_rate))
        return declared

    @property
    def duration(self) -> float:
        """Seconds: to the end of what was read, if that is all of the file; else as the file declares."""
        ends = [index.end for index in (self.video_index, self.audio_index) if not np.isnan(index.end)]
        if self._seek_to is None and self._until is None and ends:
            return max(ends)
        return self.declared_end or (self._container.duration or 0) / av.time_base or max(ends, default=0.0)

    @property
    def frame_rate(self) -> float:
        """Pictures a second, 0 where nothing tells. Counted where fields are stored: headers then count either."""
        index = self.video_index
        if self.second_fields.any() and index.end > index.start:
            return float(np.count_nonzero(~self.second_fields) / (index.end - index.start))
        return float(self.video.average_rate or self.video.guessed_rate or 0)

    def seconds(self, timestamp: int | None, stream: av.stream.Stream) -> float:
        """A stream's timestamp on the clip's clock, seconds; NaN for None."""
        return self._seconds(timestamp, stream.index)

    def _seconds(self, timestamp: int | None, stream_index: int) -> float:
        if timestamp is None:
            return np.nan
        numerator, denominator = self._units[stream_index]
        return timestamp * numerator / denominator - self._base

    def index(self, start: float | None = None, end: float | None = None) -> None:
        """Lists the packets, of the whole file or of what is needed to decode from `start` to `end` seconds."""
        self._until = end
        self._seek_to = start - SEEK_MARGIN if start is not None and start > 2 * SEEK_MARGIN else None
        self._list_packets()
        if self._seek_to is not None and self._missed(start):
            # The format cannot seek, or missed the keyframe before the start: read from the beginning instead.
            self._seek_to = None
            self._reopen()
            self._list_packets()
        if self._kept is None:
            self._reopen()  # now: decoders belong to the container that is open

    def _missed(self, start: float) -> bool:
        first_key = self.video_index.times[self.video_index.keyframes][:1]
        return self.video is not None and not (len(first_key) and first_key[0] <= start)

    def packets(self) -> Iterator[av.Packet]:
        """All listed packets of the two streams in file order; to be called once."""
        return self._read() if self._kept is None else iter(self._kept)

    def _list_packets(self) -> None:
        lists = {stream.index: _PacketList() for stream in (self.video, self.audio) if stream is not None}
        units = {index: numerator / denominator for index, (numerator, denominator) in self._units.items()}
        self._kept, size = [], 0
        fields = SecondFields(self.video)
        for packet in self._read():
            number = packet.stream_index
            if self.video is not None and number == self.video.index:
                fields.add(packet)
            time = packet.dts if packet.pts is None or (self.dts_only and packet.dts is not None) else packet.pts
            lists[number].add(packet, self._seconds(time, number), units[number])
            size += packet.size
            if size > KEPT_BYTES:
                self._kept = None
            elif self._kept is not None:
                self._kept.append(packet)
        for name, stream in (("video_index", self.video), ("audio_index", self.audio)):
            setattr(self, name, (_PacketList() if stream is None else lists[stream.index]).index())
            if stream is not None:
                index = getattr(self, name)
                index.encrypted = index.encrypted or encrypted_packets(
                    self._container, self._file, stream, len(index.times)
                )
        self.second_fields = fields.marks(self.video_index.times)

    def _read(self) -> Iterator[av.Packet]:
        streams = [stream for stream in (self.video, self.audio) if stream is not None]
        running = set(self._units)
        try:
            if self._seek_to is not None:
                self._container.seek(round((self._seek_to + self._base) * av.time_base))
            for packet in self._container.demux(streams):
                if packet.size == 0 and packet.pts is None and packet.dts is None:
                    continue  # PyAV's marks of the end; the decoders are drained by name
                yield packet
                # Pictures may be stored a little out of order, hence one second more than is asked for.
                if self._until is not None and packet.dts is not None:
                    if self._seconds(packet.dts, packet.stream_index) > self._until + 1.0:
                        running.discard(packet.stream_index)
                    if not running:
                        return
        except (av.FFmpegError, OSError) as error:
            note = f"reading stopped early: {message_of(error)}"
            if note not in self.notes:  # large files are read twice
                self.notes.append(note)

    def _reopen(self) -> None:
        self._close()
        self._open()

    def _close(self) -> None:
        if self._container is not None:
            self._container.close()
        if self._file is not None:
            self._file.close()


def _choose(kind: str, streams: tuple, best: av.stream.Stream | None, number: int | None) -> av.stream.Stream | None:
    """The stream of that number, or FFmpeg's best, but never cover art: a picture in a file of sound is no video."""
    real = [stream for stream in streams if not stream.disposition & Disposition.attached_pic]
    if number is None or not real:
        return best if best in real else next(iter(real), None)
    if number >= len(real):
        count = f"{len(real)} {kind} stream" + ("s" if len(real) > 1 else "")
        raise MediaError("no_streams", f"{kind} stream {number} was asked for, counted from 0; the file has {count}")
    return real[number]


def _check_size(width: int, height: int, said: str) -> None:
    # FFmpeg itself refuses the largest sizes: it reports 0 x 0 then and tells the size in a message only.
    refused = re.search(r"Picture size (\d+)x(\d+) is invalid", said)
    if not width and refused:
        width, height = int(refused[1]), int(refused[2])
    if max(width, height) > LARGEST_SIDE or width * height > MOST_PIXELS:
        raise MediaError(
            "too_large",
            f"pictures of {width} x {height}; the limit is {LARGEST_SIDE} a side and {MOST_PIXELS // 2**20} Mpx",
        )

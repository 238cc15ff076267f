"""Opens a media file, chooses its video and audio streams and lists their compressed packets.

Listing costs about 2 microseconds a packet and no decoding, and tells what the file really holds: headers are wrong
where a file was cut, and some have no duration at all. All times are seconds on one clock, the container's, counted
from its start, so frames and audio stay together whatever each stream's own start is.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from typing import BinaryIO

import av
import numpy as np

from pemt_tf.media import file_layout
from pemt_tf.media.audio_clock import decoded_frames, follow, is_irregular, place
from pemt_tf.media.container import SingleFile, check_size, choose_stream, encrypted_packets, message_of, open_container
from pemt_tf.media.interlaced_fields import SecondFields
from pemt_tf.media.media_errors import MediaError
from pemt_tf.media.packet_index import PacketList, StreamIndex, first_part, hold_slides, rising_seconds

KEPT_BYTES = 64 * 2**20  # compressed packets kept in memory between listing and decoding
ENDS_APART = 0.5  # seconds between two ends that are not the same
SEEK_MARGIN = 2.0  # seconds before the wanted start; gives audio decoders time to settle
SMALL_BYTES = 4 * 2**20  # files that are read from the beginning, wherever the wanted start is


class MediaFile:
    """One open media file, a path or a seekable binary file. Use it as a context manager.

    Streams are chosen by number among those of their kind, without cover art; None takes the file's default.

    Attributes:
        video, audio: the chosen streams, or None.
        video_index, audio_index: the streams' packets; empty until `index` is called.
        second_fields: [video packets] bool: those that complete the frame before (`SecondFields`).
        declared_end: end of the whole according to the header, seconds; None where it cannot be trusted.
        dts_only: whether the container stores no presentation times.
        notes: what is worth telling about the file.
        audio_times: [frames] when each decoded frame of audio begins, seconds, where its timestamps do not tell; the
            audio must then be decoded from its first packet on. None where timestamps are to be followed.
    """

    def __init__(
        self, source: str | BinaryIO, video_stream: int | None = None, audio_stream: int | None = None
    ) -> None:
        self._source, self._size = source, file_layout.size_of(source)
        self._numbers = video_stream, audio_stream
        self._kept: list[av.Packet] | None = []
        self._seek_to: float | None = None
        self._until: float | None = None
        self._others_end, self._read_to = -np.inf, 0
        self._whole = False
        self.notes: list[str] = []
        self.audio_times: np.ndarray | None = None
        self.video_index = self.audio_index = PacketList().index()
        self.second_fields = np.zeros(0, bool)
        self._opened = contextlib.ExitStack()
        try:
            self._open()
        except BaseException:
            self._opened.close()
            raise

    def __enter__(self) -> MediaFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._kept = None
        self._opened.close()

    def _open(self) -> None:
        self._file = self._opened.enter_context(contextlib.closing(SingleFile(self._source)))
        self._container, said = open_container(self._file)
        container = self._opened.enter_context(self._container)
        self._base = (container.start_time or 0) / av.time_base
        self.dts_only = self._is("avi")
        best = container.streams.best
        self.video = choose_stream("video", container.streams.video, best("video"), self._numbers[0])
        related = best("audio", related=self.video)
        self.audio = choose_stream("audio", container.streams.audio, related, self._numbers[1])
        chosen = [stream for stream in (self.video, self.audio) if stream is not None]
        if not chosen:
            raise MediaError("no_streams", f"{len(container.streams)} streams, none with video or audio")
        if self.video is not None and self.video.codec_context is not None:
            check_size(self.video.width, self.video.height, said)
        # Plain numbers: a Fraction for every packet and frame would cost more than the rest of the bookkeeping.
        bases = {stream.index: stream.time_base for stream in chosen}
        self._units = {index: (base.numerator, base.denominator) for index, base in bases.items()}
        self.declared_end = None if self._whole else file_layout.declared_end(container, chosen)

    def _formats(self) -> set[str]:
        return set(self._container.format.name.split(","))

    def _is(self, *formats: str) -> bool:
        return bool(self._formats() & set(formats))

    @property
    def declared_seconds(self) -> float:
        """`declared_end`; 0 where it cannot be trusted."""
        return self.declared_end or 0.0

    @property
    def is_from_start(self) -> bool:
        """Whether the listed packets are those from the file's start on."""
        return self._seek_to is None

    @property
    def duration(self) -> float:
        """Seconds: to the end of what was read, if that is all of the file; else as the file declares."""
        read_end = self._last_end()
        if self._seek_to is None and self._until is None and read_end is not None:
            return read_end
        return self.declared_end or (self._container.duration or 0) / av.time_base or read_end or 0.0

    def _last_end(self) -> float | None:
        """The later end of the two streams, seconds; None where neither is known."""
        ends = [index.end for index in (self.video_index, self.audio_index) if not np.isnan(index.end)]
        return max(ends, default=None)

    @property
    def frame_rate(self) -> float:
        """Frames per second of the video, 0 if unknown; counted where fields are stored: headers may count those."""
        index = self.video_index
        if self.second_fields.any() and index.end > index.start:
            return float(np.count_nonzero(~self.second_fields) / (index.end - index.start))
        return float(self.video.average_rate or self.video.guessed_rate or 0) if self.video is not None else 0.0

    def seconds(self, timestamp: int | None, stream_index: int) -> float:
        """A stream's timestamp on the container's clock, seconds; NaN for None."""
        if timestamp is None:
            return np.nan
        numerator, denominator = self._units[stream_index]
        return timestamp * numerator / denominator - self._base

    def index(self, start: float | None = None, end: float | None = None) -> None:
        """Lists the packets, of the whole file or of what is needed to decode from `start` to `end` seconds."""
        self._until = end
        if start is not None and start > 2 * SEEK_MARGIN and self._size > SMALL_BYTES and self._can_seek():
            self._seek_to = start - SEEK_MARGIN
        self._list_packets()
        if self._seek_to is not None and start is not None and self._missed(start):
            # The format cannot seek, or missed the keyframe before the start: read from the beginning instead.
            self._seek_to = None
            self._reopen()
            self._list_packets()
        if self._kept is None:
            self._reopen()  # now: decoders belong to the container that is open
        if self.audio is not None and self.audio.codec_context is not None:
            if self._place_audio(self.audio) and (self._seek_to, self._until) != (None, None):
                # Neither seeking nor stopping followed the times at which this audio is heard: read everything.
                self._seek_to = self._until = None
                self._reopen()
                self._list_packets()
                self._place_audio(self.audio)
            self._hold_slides()

    def _hold_slides(self) -> None:
        stored = self.video_index.end
        hold_slides(self.video_index, self.audio_index)
        if self._until is None and self.declared_end and self.video_index.end < stored:
            self.declared_end -= stored - self.video_index.end  # a header counts a held last frame

    def _missed(self, start: float) -> bool:
        first_key = self.video_index.times[self.video_index.keyframes][:1]
        return self.video is not None and not (len(first_key) and first_key[0] <= start)

    def _can_seek(self) -> bool:
        """Whether seeking finds a moment; in joined files it exists more than once."""
        if self._is("flv") or (self._is("mov") and file_layout.another_mp4_follows(self._source)):
            return False
        if not self._is("mpegts", "mpeg", "ogg"):
            return True
        try:
            stream = self.audio if self.video is None else self.video
            joined = stream is None or file_layout.falls_back(self._container, stream, self._size)
        except av.FFmpegError:
            joined = True
        if joined:
            self._reopen()
        return not joined

    def packets(self) -> Iterator[av.Packet]:
        """All listed packets of the two streams in file order; to be called once."""
        return self._read() if self._kept is None else iter(self._kept)

    def _list_packets(self) -> None:
        audio = self.audio.index if self.audio is not None else None
        lists = {number: PacketList(is_audio=number == audio) for number in self._units}
        fields = self._noted_packets(lists)
        counts = first_part(lists, self._formats())
        self.video_index = self._index_of(self.video, lists, counts)
        self.audio_index = self._index_of(self.audio, lists, counts)
        self.second_fields = fields.marks(self.video_index.times)
        if counts is not None:
            self._note_joined(lists, counts)
        elif self._another_follows():
            self._note("another file follows in this one, as in joined files: it is left out")
        if counts is not None or self._is_all_there():
            self._whole, self.declared_end = True, None

    def _noted_packets(self, lists: dict[int, PacketList]) -> SecondFields:
        """Reads all packets, notes them in the list of their stream, and keeps them unless they are too large."""
        units = {number: numerator / denominator for number, (numerator, denominator) in self._units.items()}
        self._kept, size = [], 0
        fields = SecondFields(self.video)
        for place_in_file, packet in enumerate(self._read()):
            number = packet.stream_index
            if self.video is not None and number == self.video.index:
                fields.add(packet)
            time = packet.dts if packet.pts is None or (self.dts_only and packet.dts is not None) else packet.pts
            stamp = self.seconds(packet.dts, number)
            lists[number].add(packet, place_in_file, self.seconds(time, number), stamp, units[number])
            size += packet.size
            if size > KEPT_BYTES:
                self._kept = None
            elif self._kept is not None:
                self._kept.append(packet)
        return fields

    def _index_of(
        self,
        stream: av.VideoStream | av.AudioStream | None,
        lists: dict[int, PacketList],
        counts: dict[int, int] | None,
    ) -> StreamIndex:
        if stream is None:
            return PacketList().index()
        index = lists[stream.index].index(counts[stream.index] if counts else None)
        if not index.encrypted:
            index.encrypted = encrypted_packets(self._container, self._file, stream, len(index.times))
        return index

    def _note_joined(self, lists: dict[int, PacketList], counts: dict[int, int]) -> None:
        index = self.video_index if len(self.video_index.times) else self.audio_index
        left_out = max(rising_seconds(packets.stamps[counts[number] :]) for number, packets in lists.items())
        rest = "" if self._until is not None else f" (about {left_out:.1f} s)"
        self._note(f"timestamps restart at {index.end:.2f} s, as in joined files: what follows{rest} is left out")

    def _another_follows(self) -> bool:
        """Whether the file holds more than FFmpeg reads; only checked in local files."""
        here = isinstance(self._source, str) and self._until is None
        return here and file_layout.another_follows(self._source, self._formats(), self._read_to)

    def _is_all_there(self) -> bool:
        """Whether nothing was cut off, though the chosen streams end before the time that the header declares."""
        wanted = min(self.declared_seconds, np.inf if self._until is None else self._until)
        if wanted - (self._last_end() or 0.0) < ENDS_APART:
            return False
        others_last = self._others_end > self.declared_seconds - ENDS_APART
        return others_last or (self._is("matroska") and file_layout.is_complete_matroska(self._source, self._read_to))

    def _place_audio(self, audio: av.AudioStream) -> bool:
        """Finds the times of audio whose timestamps do not follow its length; it is decoded once for that.

        True if the audio is heard at quite other times than its timestamps say.
        """
        index, context, number = self.audio_index, audio.codec_context, audio.index
        if not is_irregular(index, context.frame_size / context.sample_rate if context.sample_rate else 0.0):
            return False
        packets = (packet for packet in self.packets() if packet.stream_index == number)
        frames = decoded_frames(context, itertools.islice(packets, len(index.times)))
        times = np.array([self.seconds(stamp, number) for stamp in frames.stamps])
        seconds = np.array(frames.seconds)
        self._reopen()  # for a decoder without a past
        length = self.video_index.end - max(self.video_index.start, 0.0)
        placed = place(times, seconds, length, always_gapless=self.dts_only)
        if not len(placed) or np.ptp(placed - follow(times, seconds)) < 1e-3:
            return False
        stored, self.audio_times = index.end, placed
        index.times = np.interp(np.arange(len(index.times)), frames.packets, placed)
        index.start, index.end = float(placed[0]), float(placed[-1] + seconds[-1])
        self._whole = self._whole or stored > (self.declared_end or np.inf) - ENDS_APART
        self.declared_end = None if self._whole else self.declared_end
        return abs(stored - index.end) > ENDS_APART

    def _read(self) -> Iterator[av.Packet]:
        running = set(self._units)
        self._others_end, self._read_to = -np.inf, 0
        try:
            if self._seek_to is not None:
                self._container.seek(round((self._seek_to + self._base) * av.time_base))
            for packet in self._demuxed():
                if packet.size == 0 and packet.pts is None and packet.dts is None:
                    continue  # PyAV's end marks; the decoders are drained explicitly
                self._read_to = max(self._read_to, (packet.pos or 0) + packet.size)
                if packet.stream_index not in self._units:
                    self._others_end = max(self._others_end, self._packet_end(packet))
                    continue
                yield packet
                # Frames may be stored a little out of order, hence one second more than is asked for.
                if self._until is not None and packet.dts is not None:
                    if self.seconds(packet.dts, packet.stream_index) > self._until + 1.0:
                        running.discard(packet.stream_index)
                    if not running:
                        return
        except (av.FFmpegError, OSError) as error:
            self._note(f"reading stopped early: {message_of(error)}")

    def _demuxed(self) -> Iterator[av.Packet]:
        while True:
            try:
                yield from self._container.demux()
                return
            except IndexError:
                continue  # PyAV's error for a packet of a stream that appeared later in the file; go on after it

    def _packet_end(self, packet: av.Packet) -> float:
        if packet.pts is None:
            return -np.inf
        return float((packet.pts + (packet.duration or 0)) * packet.time_base) - self._base

    def _note(self, note: str) -> None:
        if note not in self.notes:  # large files are read twice
            self.notes.append(note)

    def _reopen(self) -> None:
        self._opened.close()
        self._open()

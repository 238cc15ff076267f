"""Opens a media file, chooses its picture and sound streams and lists their compressed packets.

Listing costs about 2 microseconds a packet and no decoding, and tells what is truly in the file: headers lie when a
file was cut, and some have no duration at all. All times are seconds on one clock, the container's, counted from
its start; so pictures and sound stay together whatever each stream's own start is.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import BinaryIO

import av
import numpy as np
from av.stream import Disposition

from pemt_tf.media.audio_clock import decoded_frames, follow, is_irregular, place
from pemt_tf.media.container import SingleFile, encrypted_packets, message_of, open_container
from pemt_tf.media.file_layout import (
    another_follows,
    another_mp4_follows,
    declared_end,
    falls_back,
    is_complete_matroska,
    size_of,
)
from pemt_tf.media.interlaced_fields import SecondFields
from pemt_tf.media.media_errors import MediaError
from pemt_tf.media.packet_index import PacketList, apart, first_part, hold_slides, rising_seconds

LARGEST_SIDE = 16_384
MOST_PIXELS = 64 * 2**20
KEPT_BYTES = 64 * 2**20  # compressed packets kept in memory between listing and decoding
ENDS_APART = 0.5  # seconds between two ends that are not the same
SEEK_MARGIN = 2.0  # seconds before the wanted start; gives sound decoders time to settle
SMALL_BYTES = 4 * 2**20  # files that are read from the beginning, wherever the wanted start is


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
        sound_times: [frames] when each decoded frame of sound begins, seconds, where its timestamps do not tell; then
            the sound is to be decoded from its first packet on. None where timestamps are to be followed.
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
        self._source, self._size = source, size_of(source)
        self._numbers = video_stream, audio_stream
        self._kept: list[av.Packet] | None = []
        self._seek_to: float | None = None
        self._until: float | None = None
        self._others_end, self._read_to = -np.inf, 0
        self._whole = False
        self.notes: list[str] = []
        self.sound_times: np.ndarray | None = None
        self.video_index = self.audio_index = PacketList().index()
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
        self.dts_only = self._is("avi")
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
        chosen = [stream for stream in (self.video, self.audio) if stream is not None]
        self.declared_end = None if self._whole else declared_end(container, chosen)

    def _formats(self) -> set[str]:
        return set(self._container.format.name.split(","))

    def _is(self, *formats: str) -> bool:
        return bool(self._formats() & set(formats))

    @property
    def is_from_start(self) -> bool:
        """Whether the listed packets are those from the file's start on."""
        return self._seek_to is None

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
        if start is not None and start > 2 * SEEK_MARGIN and self._size > SMALL_BYTES and self._can_seek():
            self._seek_to = start - SEEK_MARGIN
        self._list_packets()
        if self._seek_to is not None and self._missed(start):
            # The format cannot seek, or missed the keyframe before the start: read from the beginning instead.
            self._seek_to = None
            self._reopen()
            self._list_packets()
        if self._kept is None:
            self._reopen()  # now: decoders belong to the container that is open
        if self.audio is not None and self.audio.codec_context is not None:
            if self._place_sound() and (self._seek_to, self._until) != (None, None):
                # Neither seeking nor stopping went by the times at which this sound is heard: read everything.
                self._seek_to = self._until = None
                self._reopen()
                self._list_packets()
                self._place_sound()
            self._hold_slides()

    def _hold_slides(self) -> None:
        stored = self.video_index.end
        hold_slides(self.video_index, self.audio_index)
        if self._until is None and self.declared_end and self.video_index.end < stored:
            self.declared_end -= stored - self.video_index.end  # a header counts a last picture that is held

    def _missed(self, start: float) -> bool:
        first_key = self.video_index.times[self.video_index.keyframes][:1]
        return self.video is not None and not (len(first_key) and first_key[0] <= start)

    def _can_seek(self) -> bool:
        """Whether a moment can be found by seeking: where files were joined, it is there more than once."""
        if self._is("flv") or (self._is("mov") and another_mp4_follows(self._source)):
            return False
        if not self._is("mpegts", "mpeg", "ogg"):
            return True
        try:
            joined = falls_back(self._container, self.video or self.audio, self._size)
        except av.FFmpegError:
            joined = True
        if joined:
            self._reopen()
        return not joined

    def packets(self) -> Iterator[av.Packet]:
        """All listed packets of the two streams in file order; to be called once."""
        return self._read() if self._kept is None else iter(self._kept)

    def _list_packets(self) -> None:
        kinds = {"video_index": self.video, "audio_index": self.audio}
        lists = {each.index: PacketList(each is self.audio) for each in kinds.values() if each is not None}
        units = {index: numerator / denominator for index, (numerator, denominator) in self._units.items()}
        self._kept, size = [], 0
        fields = SecondFields(self.video)
        for place_in_file, packet in enumerate(self._read()):
            number = packet.stream_index
            if self.video is not None and number == self.video.index:
                fields.add(packet)
            time = packet.dts if packet.pts is None or (self.dts_only and packet.dts is not None) else packet.pts
            stamp = self._seconds(packet.dts, number)
            lists[number].add(packet, place_in_file, self._seconds(time, number), stamp, units[number])
            size += packet.size
            if size > KEPT_BYTES:
                self._kept = None
            elif self._kept is not None:
                self._kept.append(packet)
        counts = first_part(lists)
        if counts is None and self._is("mpegts", "mpeg"):
            counts = apart(lists)
        if counts is not None and self._is("ogg"):
            # The first packet of a new part still comes with the time at which the part before it ended.
            counts = {number: max(count - 1, 1) for number, count in counts.items()}
        for name, stream in kinds.items():
            packets = PacketList() if stream is None else lists[stream.index]
            index = packets.index(counts[stream.index] if counts and stream is not None else None)
            if stream is not None:
                index.encrypted = index.encrypted or encrypted_packets(
                    self._container, self._file, stream, len(index.times)
                )
            setattr(self, name, index)
        self.second_fields = fields.marks(self.video_index.times)
        if counts is not None:
            self._note_joined(lists, counts)
        elif self._another_follows():
            self._note("another file follows in this one, as in joined files: it is left out")
        if counts is not None or self._is_all_there():
            self._whole, self.declared_end = True, None

    def _note_joined(self, lists: dict[int, PacketList], counts: dict[int, int]) -> None:
        index = self.video_index if len(self.video_index.times) else self.audio_index
        left_out = max(rising_seconds(packets.stamps[counts[number] :]) for number, packets in lists.items())
        rest = "" if self._until is not None else f" (about {left_out:.1f} s)"
        self._note(
            f"timestamps start anew at {index.end:.2f} s, as in joined files: what comes after{rest} is left out"
        )

    def _another_follows(self) -> bool:
        """Whether there is more in the file than FFmpeg reads; looked up in files of this machine only."""
        here = isinstance(self._source, str) and self._until is None
        return here and another_follows(self._source, self._formats(), self._read_to)

    def _is_all_there(self) -> bool:
        """Whether nothing was cut off, though the chosen streams end before the time that the header declares."""
        ends = [index.end for index in (self.video_index, self.audio_index) if not np.isnan(index.end)]
        wanted = min(self.declared_end or 0.0, np.inf if self._until is None else self._until)
        if wanted - max(ends, default=0.0) < ENDS_APART:
            return False
        others_last = self._others_end > self.declared_end - ENDS_APART
        return others_last or (self._is("matroska") and is_complete_matroska(self._source, self._read_to))

    def _place_sound(self) -> bool:
        """Finds out when sound is heard whose timestamps do not follow its length: it is decoded once for that.

        Returns:
            Whether it is heard at quite other times than its timestamps say.
        """
        index, context = self.audio_index, self.audio.codec_context
        if not is_irregular(index, context.frame_size / context.sample_rate if context.sample_rate else 0.0):
            return False
        sound = (packet for packet in self.packets() if packet.stream_index == self.audio.index)
        frames = decoded_frames(context, itertools.islice(sound, len(index.times)))
        times = np.array([self.seconds(stamp, self.audio) for stamp in frames.stamps])
        seconds = np.array(frames.seconds)
        self._reopen()  # for a decoder without a past
        pictures = self.video_index.end - max(self.video_index.start, 0.0)
        placed = place(times, seconds, pictures, always_gapless=self.dts_only)
        if not len(placed) or np.ptp(placed - follow(times, seconds)) < 1e-3:
            return False
        stored, self.sound_times = index.end, placed
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
                    continue  # PyAV's marks of the end; the decoders are drained by name
                self._read_to = max(self._read_to, (packet.pos or 0) + packet.size)
                if packet.stream_index not in self._units:
                    self._others_end = max(self._others_end, self._packet_end(packet))
                    continue
                yield packet
                # Pictures may be stored a little out of order, hence one second more than is asked for.
                if self._until is not None and packet.dts is not None:
                    if self._seconds(packet.dts, packet.stream_index) > self._until + 1.0:
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
                continue  # PyAV's answer to a packet of a stream that appeared on the way; go on behind it

    def _packet_end(self, packet: av.Packet) -> float:
        if packet.pts is None:
            return -np.inf
        return float((packet.pts + (packet.duration or 0)) * packet.time_base) - self._base

    def _note(self, note: str) -> None:
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

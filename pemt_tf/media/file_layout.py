"""What a file's layout tells: how long it should be, whether all of it is there, whether another file follows."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import BinaryIO

import av
import numpy as np
from av.container import InputContainer
from av.stream import Stream

from pemt_tf.media.packet_index import SMALLEST_FALL

# Their headers state durations exactly; elsewhere (raw AAC, MP3) FFmpeg guesses from the bit rate.
EXACT_DURATION = {"mov", "matroska", "avi", "flv", "asf", "wav", "ogg"}
PROBES = 12  # places that are looked at in a file in which FFmpeg seeks by timestamps
_NO_PACKETS = b"\x1c\x53\xbb\x6b", b"\x12\x54\xc3\x67"  # Matroska's cues and tags
_ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"


def declared_end(container: InputContainer, chosen: list[Stream]) -> float | None:
    """The end of the chosen streams according to the header, seconds; None where it cannot be trusted."""
    formats = set(container.format.name.split(","))
    if not EXACT_DURATION & formats or not container.duration:
        return None
    declared = container.duration / av.time_base
    lasting = [(x.start_time or 0, x.duration, x.time_base) for x in chosen]
    ends = [(start + length) * unit for start, length, unit in lasting if length and unit]
    if "mov" in formats and len(ends) == len(chosen):
        # The movie is as long as its longest track, whichever that is.
        return min(declared, float(max(ends)))
    if "avi" in formats:
        # FFmpeg shortens the duration of a cut AVI file to what is there; the count of frames is the header's.
        rates = [(stream.frames, stream.average_rate) for stream in chosen if stream.type == "video"]
        declared = max([declared, *(frames / float(rate) for frames, rate in rates if rate)])
    return declared


def size_of(source: str | BinaryIO) -> int:
    """Size in bytes; 0 where there is no file."""
    if isinstance(source, str):
        return os.path.getsize(source) if os.path.isfile(source) else 0  # noqa: PTH113, PTH202
    with _reading(source) as file:
        return file.seek(0, os.SEEK_END)


def falls_back(container: InputContainer, stream: Stream, size: int) -> bool:
    """Whether timestamps restart somewhere in a file of `size` bytes, judged by a few places."""
    latest, unit = -np.inf, stream.time_base
    assert unit is not None  # true of every stream of an open container
    for probe in range(PROBES):
        container.seek(size * probe // PROBES, unsupported_byte_offset=True)
        stamp = next((packet.dts for packet in container.demux(stream) if packet.dts is not None), None)
        if stamp is not None and stamp * unit < latest - SMALLEST_FALL:
            return True
        latest = latest if stamp is None else max(latest, float(stamp * unit))
    return False


def is_complete_matroska(source: str | BinaryIO, read_to: int) -> bool:
    """Whether the declared segment of a Matroska or WebM file is all there; its last packet ends at byte `read_to`."""
    with _reading(source) as file:
        end, after = _segment_end(file), _at(file, read_to, 64)
        size = file.seek(0, os.SEEK_END)
    return 0 < end <= size and (end - read_to < 64 or any(element in after for element in _NO_PACKETS))


def another_follows(source: str | BinaryIO, formats: set[str], read_to: int) -> bool:
    """Whether a second file was appended, in a format (FFmpeg's names) of which FFmpeg reads only the first.

    The first one's last packet ends at byte `read_to`.
    """
    with _reading(source) as file:
        if "matroska" in formats:
            end = _segment_end(file)
            return end > 0 and _at(file, end, 4) == _EBML
        if "mov" in formats:
            return another_mp4_follows(file)
        if "flv" in formats:
            return b"FLV\x01" in _at(file, read_to, 64)
        if "asf" in formats:  # an index may follow the packets
            return _ASF in _at(file, read_to, 2**20)
        if "wav" in formats:
            return _at(file, 8 + int.from_bytes(_at(file, 0, 8)[4:], "little"), 4) == b"RIFF"
    return False


def another_mp4_follows(source: str | BinaryIO) -> bool:
    """Whether a second MP4 file was appended to the first."""
    with _reading(source) as file:
        place, types = 0, 0
        while len(head := _at(file, place, 16)) == 16:
            length = int.from_bytes(head[:4], "big")
            length = int.from_bytes(head[8:], "big") if length == 1 else length
            types += head[4:8] == b"ftyp"
            if types == 2 or length < 8:
                break
            place += length
        return types == 2


def _segment_end(file: BinaryIO) -> int:
    """The byte at which the segment of a Matroska file ends; -1 where the file does not say."""
    head = _at(file, 0, 4096)
    place, length = _element(head, 4)
    if head[:4] != _EBML or length < 0 or head[place + length :][:4] != _SEGMENT:
        return -1
    place, length = _element(head, place + length + 4)
    return place + length if length > 0 else -1


def _at(file: BinaryIO, place: int, count: int) -> bytes:
    file.seek(place)
    return file.read(count)


@contextlib.contextmanager
def _reading(source: str | BinaryIO) -> Iterator[BinaryIO]:
    """The open file; a file that was open already is put back to its position."""
    if isinstance(source, str):
        with open(source, "rb") as file:  # noqa: PTH123 - paths of other machines need not be valid Path text
            yield file
        return
    before = source.tell()
    try:
        yield source
    finally:
        source.seek(before)


def _element(data: bytes, place: int) -> tuple[int, int]:
    """Where an element's content begins, and its length in bytes; -1 where the length is unknown."""
    if place >= len(data) or not data[place]:
        return place, -1
    width = 9 - data[place].bit_length()
    value = int.from_bytes(data[place : place + width], "big") & ((1 << 7 * width) - 1)
    return place + width, -1 if value == (1 << 7 * width) - 1 else value

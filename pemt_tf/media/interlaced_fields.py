"""Which packets of H.264 and MPEG-2 hold no picture of their own, but only the second field of the one before.

Interlaced streams may store each picture as two fields, a packet each (PAFF: DVB, AVCHD), and may change between that
and whole pictures. FFmpeg gives one picture for the two packets. Its parser knows, but PyAV has no access to that; so
the few bits that tell are read here: of H.264 in sequence, picture and slice headers (ITU-T H.264, 7.3), of MPEG-2 in
the picture coding extension (ITU-T H.262, 6.2.3.1).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import av
import numpy as np

LOOKED_AT = 2**14  # bytes of a packet; headers stand before the pictures' data
START = b"\x00\x00\x01"
SEQUENCE, PICTURE, SLICES = 7, 8, (1, 2, 5)  # NAL unit types of H.264
# Profiles whose sequence header says more about colours.
WITH_CHROMA = {44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244}
PICTURE_EXTENSION = START + b"\xb5"

Field = tuple[int, int]  # parity, and a number that the fields of one picture share


class SecondFields:
    """Fed with a stream's packets in decoding order, tells of each whether it is a second field."""

    def __init__(self, stream: av.VideoStream | None) -> None:
        """Args: stream: the pictures; of codecs other than the two no packet is looked into."""
        context = stream.codec_context if stream is not None else None
        name = context.name if context is not None else ""
        self._field_of = None
        if name == "h264":
            self._field_of = _H264Headers(context.extradata or b"").field
        elif name == "mpeg2video":
            self._field_of = _mpeg2_field
        self._marks: list[bool] = []
        self._first: Field | None = None
        self._are_fields = False  # what was read last

    def add(self, packet: av.Packet) -> None:
        """Takes note of the next packet."""
        self._marks.append(self.is_second(packet))

    def marks(self, times: np.ndarray) -> np.ndarray:
        """[packets] bool: which are second fields, of the first packets as far as `times` go.

        Args:
            times: [packets] seconds. A second field without a time, as transport streams may have, gets the first's.
        """
        marks = np.array(self._marks[: len(times)], bool)
        for place in np.flatnonzero(marks & np.isnan(times)):
            times[place] = times[place - 1]
        return marks

    def is_second(self, packet: av.Packet) -> bool:
        """Whether the packet is the other field of the picture that the packet before began."""
        if self._field_of is None:
            return False
        first = self._first
        try:
            field = self._field_of(packet)
            self._are_fields = field is not None
        except ValueError:  # damaged: taken as more of the same, so that damage counts by pictures too
            field = None
            if self._are_fields:
                field = (1 - first[0], first[1]) if first is not None else (0, -1)
        is_second = None not in (first, field) and first[0] != field[0] and first[1] == field[1]
        self._first = None if is_second else field
        return is_second


@dataclass(frozen=True)
class _Sequence:
    """What must be known of a sequence header to read the slices' headers."""

    number_bits: int
    has_planes: bool
    has_fields: bool


class _H264Headers:
    """Reads headers of sequences and pictures as they come, and which field a packet begins with."""

    def __init__(self, extradata: bytes) -> None:
        self._sequences: dict[int, _Sequence] = {}
        self._pictures: dict[int, int] = {}  # their sequences
        self._has_fields = False
        self._length_size = 0  # bytes; 0 where start codes divide the units
        if extradata[:1] == b"\x01" and len(extradata) > 6:
            self._length_size = (extradata[4] & 3) + 1
            place, count = 6, extradata[5] & 31
            for _ in range(2):  # sequences, then pictures
                for _ in range(count):
                    size = int.from_bytes(extradata[place : place + 2], "big")
                    self._take_note(extradata[place + 2 : place + 2 + size])
                    place += 2 + size
                count, place = int.from_bytes(extradata[place : place + 1], "big"), place + 1
        else:
            for unit in extradata.split(START)[1:]:
                self._take_note(unit)

    def field(self, packet: av.Packet) -> Field | None:
        """The field that the packet begins with; None for a whole picture.

        Raises:
            ValueError: no header of a slice can be read in a stream that may have fields.
        """
        if not self._has_fields and not packet.is_keyframe:
            return None  # headers of sequences stand before keyframes
        for unit in self._units(bytes(memoryview(packet)[:LOOKED_AT])):
            if not unit or unit[0] & 31 not in SLICES:
                self._take_note(unit)
            elif self._has_fields:
                return self._of_slice(_Bits(unit[1:64]))
        if self._has_fields:
            raise ValueError("no slice")
        return None

    def _units(self, data: bytes) -> Iterator[bytes]:
        if not self._length_size:
            yield from data.split(START)[1:]
            return
        place = 0
        while place + self._length_size < len(data):
            begin = place + self._length_size
            place = begin + int.from_bytes(data[place:begin], "big")
            yield data[begin:place]

    def _take_note(self, unit: bytes) -> None:
        bits, kind = _Bits(unit[1:512]), unit[0] & 31 if unit else 0
        try:
            if kind == SEQUENCE:
                number, sequence = _sequence(bits)
                self._sequences[number] = sequence
                self._has_fields |= sequence.has_fields
            elif kind == PICTURE:
                number = bits.count()
                self._pictures[number] = bits.count()
        except ValueError:
            pass  # damaged

    def _of_slice(self, bits: _Bits) -> Field | None:
        bits.count(), bits.count()  # its first macroblock; its type
        sequence = self._sequences.get(self._pictures.get(bits.count()))
        if sequence is None:
            raise ValueError("no header of the sequence")
        if not sequence.has_fields:
            return None
        bits.take(2 * sequence.has_planes)
        number, is_field = bits.take(sequence.number_bits), bits.take(1)
        return (bits.take(1), number) if is_field else None


def _sequence(bits: _Bits) -> tuple[int, _Sequence]:
    profile, _, _ = bits.take(8), bits.take(8), bits.take(8)
    number, has_planes = bits.count(), False
    if profile in WITH_CHROMA:
        chroma = bits.count()
        has_planes = chroma == 3 and bits.take(1) == 1
        bits.count(), bits.count(), bits.take(1)  # depths; a transform that is left out
        if bits.take(1):
            for matrix in range(8 if chroma != 3 else 12):
                if bits.take(1):
                    _skip_scaling(bits, 16 if matrix < 6 else 64)
    number_bits = bits.count() + 4
    order = bits.count()
    if order == 0:
        bits.count()
    elif order == 1:
        bits.take(1), bits.count(), bits.count()
        for _ in range(bits.count()):
            bits.count()
    bits.count(), bits.take(1), bits.count(), bits.count()  # reference pictures; gaps; width and height
    return number, _Sequence(number_bits, has_planes, has_fields=bits.take(1) == 0)


def _skip_scaling(bits: _Bits, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            code = bits.count()
            following = (last + ((code + 1) // 2 if code % 2 else -(code // 2))) % 256
        last = following or last


def _mpeg2_field(packet: av.Packet) -> Field | None:
    data = bytes(memoryview(packet)[:LOOKED_AT])
    picture = data.find(START + b"\x00")
    place = data.find(PICTURE_EXTENSION, picture)
    while place >= 0 and place + 6 < len(data) and data[place + 4] >> 4 != 8:
        place = data.find(PICTURE_EXTENSION, place + 4)
    if picture < 0 or place < 0 or place + 6 >= len(data):
        raise ValueError("no header of a picture")
    structure, number = data[place + 6] & 3, int.from_bytes(data[picture + 4 : picture + 6], "big") >> 6
    return (structure - 1, number) if structure in (1, 2) else None  # 3: a whole picture


class _Bits:
    """Reads the bits of a header from the first on; ValueError beyond the last."""

    def __init__(self, data: bytes) -> None:
        data = data.replace(b"\x00\x00\x03", b"\x00\x00")  # the 3 keeps data from looking like a start code
        self._value, self._left = int.from_bytes(data, "big"), 8 * len(data)

    def take(self, bits: int) -> int:
        self._left -= bits
        if self._left < 0:
            raise ValueError("the header ends early")
        return (self._value >> self._left) & ((1 << bits) - 1)

    def count(self) -> int:
        """A number in Exp-Golomb code."""
        zeros = 0
        while not self.take(1):
            zeros += 1
        return (1 << zeros) - 1 + self.take(zeros)

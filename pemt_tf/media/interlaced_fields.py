"""Which packets of H.264 and MPEG-2 hold no frame of their own, but only the second field of the one before.

Interlaced streams may store each frame as two fields, a packet each (PAFF: DVB, AVCHD), and may switch between that and
whole frames. FFmpeg gives one frame for the two packets. Its parser knows, but PyAV has no access to that. So the
relevant bits are read here: in the sequence, picture and slice headers of H.264 (ITU-T H.264, 7.3), and in the picture
coding extension of MPEG-2 (ITU-T H.262, 6.2.3.1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import av
import numpy as np

LOOKED_AT = 2**14  # bytes of a packet; headers come before the data
START = b"\x00\x00\x01"
SEQUENCE, PICTURE, SLICES = 7, 8, (1, 2, 5)  # NAL unit types of H.264
# Profiles whose sequence header has a part about colours.
WITH_CHROMA = {44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244}
PICTURE_EXTENSION = START + b"\xb5"

Field = tuple[int, int]  # parity, and a number that the fields of one frame share


class SecondFields:
    """Takes a stream's packets in decoding order and tells which are second fields; none of other codecs are."""

    def __init__(self, stream: av.VideoStream | None) -> None:
        context = stream.codec_context if stream is not None else None
        self._field_of: Callable[[av.Packet], Field | None] | None = None
        if context is not None and context.name == "h264":
            self._field_of = _H264Headers(context.extradata or b"").field
        elif context is not None and context.name == "mpeg2video":
            self._field_of = _mpeg2_field
        self._marks: list[bool] = []
        self._first: Field | None = None
        self._are_fields = False  # what was read last

    def add(self, packet: av.Packet) -> None:
        """Notes the next packet."""
        self._marks.append(self.is_second(packet))

    def marks(self, times: np.ndarray) -> np.ndarray:
        """[packets] bool: which of the first packets, one for each of `times`, are second fields.

        A second field without a time, as in some transport streams, gets the first's.
        """
        marks = np.array(self._marks[: len(times)], bool)
        for place in np.flatnonzero(marks & np.isnan(times)):
            times[place] = times[place - 1]
        return marks

    def is_second(self, packet: av.Packet) -> bool:
        """Whether the packet is the other field of the frame that the packet before began."""
        if self._field_of is None:
            return False
        first = self._first
        try:
            field = self._field_of(packet)
            self._are_fields = field is not None
        except ValueError:  # damaged: assume more of the same, so that damage is counted in frames too
            field = None
            if self._are_fields:
                field = (1 - first[0], first[1]) if first is not None else (0, -1)
        is_second = first is not None and field is not None and first[0] != field[0] and first[1] == field[1]
        self._first = None if is_second else field
        return is_second


@dataclass(frozen=True)
class _Sequence:
    """What a sequence header says that slice headers depend on."""

    number_bits: int
    has_planes: bool
    has_fields: bool


class _H264Headers:
    """Reads headers of sequences and pictures as they come, and tells which field a packet begins with."""

    def __init__(self, extradata: bytes) -> None:
        self._sequences: dict[int, _Sequence] = {}
        self._sequence_of: dict[int, int] = {}  # picture parameter set to its sequence
        self._has_fields = False
        self._length_size = 0  # bytes; 0 where start codes divide the units
        if extradata[:1] == b"\x01" and len(extradata) > 6:
            self._length_size = (extradata[4] & 3) + 1
            place, count = 6, extradata[5] & 31
            for _ in range(2):  # sequences, then pictures
                for _ in range(count):
                    size = int.from_bytes(extradata[place : place + 2], "big")
                    self._note(extradata[place + 2 : place + 2 + size])
                    place += 2 + size
                count, place = int.from_bytes(extradata[place : place + 1], "big"), place + 1
        else:
            for unit in extradata.split(START)[1:]:
                self._note(unit)

    def field(self, packet: av.Packet) -> Field | None:
        """The field that the packet begins with; None for a whole frame. ValueError: no slice header can be read."""
        if not self._has_fields and not packet.is_keyframe:
            return None  # sequence headers come before keyframes
        for unit in self._units(bytes(memoryview(packet)[:LOOKED_AT])):
            if not unit or unit[0] & 31 not in SLICES:
                self._note(unit)
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

    def _note(self, unit: bytes) -> None:
        bits, kind = _Bits(unit[1:512]), unit[0] & 31 if unit else 0
        try:
            if kind == SEQUENCE:
                number, sequence = _sequence(bits)
                self._sequences[number] = sequence
                self._has_fields |= sequence.has_fields
            elif kind == PICTURE:
                number = bits.count()
                self._sequence_of[number] = bits.count()
        except ValueError:
            pass  # damaged

    def _of_slice(self, bits: _Bits) -> Field | None:
        bits.skip_counts(2)  # its first macroblock; its type
        sequence = self._sequences.get(self._sequence_of.get(bits.count(), -1))
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
        bits.skip_counts(2)  # depths
        bits.take(1)  # whether a transform is left out
        if bits.take(1):
            for matrix in range(8 if chroma != 3 else 12):
                if bits.take(1):
                    _skip_scaling(bits, 16 if matrix < 6 else 64)
    number_bits = bits.count() + 4
    order = bits.count()
    if order == 0:
        bits.count()
    elif order == 1:
        bits.take(1)
        bits.skip_counts(2)
        bits.skip_counts(bits.count())
    bits.count()  # reference frames
    bits.take(1)  # whether there may be gaps
    bits.skip_counts(2)  # width and height
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
    return (structure - 1, number) if structure in (1, 2) else None  # 3: a whole frame


class _Bits:
    """Reads the bits of a header in order; raises ValueError after the last."""

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

    def skip_counts(self, numbers: int) -> None:
        for _ in range(numbers):
            self.count()

"""Damages media files in the ways that disks, networks, editors and attackers do, reproducibly from a seed."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

Mutation = Callable[[bytes, random.Random, bytes], bytes]

HEADER_BYTES = 4096  # most containers have what matters most within this from their start
EXTREMES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 60_000, 65_537)
# Names of structures, with fields behind them, of MP4, AVI and WAV, and the start of Matroska's and MPEG's.
TAGS = re.compile(
    rb"ftyp|moov|mvhd|tkhd|mdhd|hdlr|stsd|stts|ctts|stss|stsc|stsz|stco|co64|elst|moof|tfhd|trun|mdat|avcC|hvcC|esds|"
    rb"avc1|hev1|mp4a|RIFF|LIST|hdrl|avih|strh|strf|movi|idx1|fmt |data|OggS|FLV|fLaC|"
    rb"\x1a\x45\xdf\xa3|\x18\x53\x80\x67|\x16\x54\xae\x6b|\x1f\x43\xb6\x75|\x15\x49\xa9\x66|\x00\x00\x01[\xb3\xba\xbb\xe0]"
)


def flip_bits(data: bytes, dice: random.Random, _: bytes) -> bytes:
    """Single bits, from one in the file to one in a thousand bytes."""
    changed = bytearray(data)
    for _number in range(max(1, int(len(data) * 10 ** dice.uniform(-6, -3)))):
        changed[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
    return bytes(changed)


def flip_header_bits(data: bytes, dice: random.Random, _: bytes) -> bytes:
    """A few bits within the first kilobytes."""
    changed = bytearray(data)
    for _number in range(dice.randint(1, 8)):
        changed[dice.randrange(min(len(data), HEADER_BYTES))] ^= 1 << dice.randrange(8)
    return bytes(changed)


def cut_end(data: bytes, dice: random.Random, _: bytes) -> bytes:
    """The file ends early."""
    return data[: dice.randrange(len(data))]


def cut_start(data: bytes, dice: random.Random, _: bytes) -> bytes:
    """The file begins late."""
    return data[dice.randrange(1, len(data)) :]


def cut_middle(data: bytes, dice: random.Random, _: bytes) -> bytes:
    """A stretch is missing."""
    first, last = _stretch(data, dice)
    return data[:first] + data[last:]


def swap_blocks(data: bytes, dice: random.Random, _: bytes) -> bytes:
    """Two stretches of equal length change places."""
    size = dice.randint(1, max(1, len(data) // 4))
    first, second = sorted(dice.randrange(len(data) - size + 1) for _number in range(2))
    second = max(second, first + size)
    return (
        data[:first]
        + data[second : second + size]
        + data[first + size : second]
        + data[first : first + size]
        + (data[second + size :])
    )


def zero_stretch(data: bytes, dice: random.Random, _: bytes) -> bytes:
    """A stretch is zeros, as a hole of a download."""
    first, last = _stretch(data, dice)
    return data[:first] + bytes(last - first) + data[last:]


def noise_stretch(data: bytes, dice: random.Random, _: bytes) -> bytes:
    """A stretch is noise."""
    first, last = _stretch(data, dice)
    return data[:first] + dice.randbytes(last - first) + data[last:]


def extreme_field(data: bytes, dice: random.Random, _: bytes) -> bytes:
    """A field at, before or behind a structure's name gets an extreme value, in either byte order."""
    tags = [match.start() for match in TAGS.finditer(data)]
    place = dice.choice(tags) + dice.randrange(-8, 96) if tags else dice.randrange(min(len(data), HEADER_BYTES))
    size = dice.choice((1, 2, 4, 8))
    value = (dice.choice(EXTREMES) % (1 << (8 * size))).to_bytes(size, dice.choice(("big", "little")))
    place = min(max(place, 0), len(data))
    return data[:place] + value + data[place + size :]


def insert_noise(data: bytes, dice: random.Random, _: bytes) -> bytes:
    """Bytes too many."""
    place = dice.randrange(len(data) + 1)
    return data[:place] + dice.randbytes(dice.randint(1, 4096)) + data[place:]


def repeat_stretch(data: bytes, dice: random.Random, _: bytes) -> bytes:
    """A stretch comes twice."""
    first, last = _stretch(data, dice)
    return data[:last] + data[first:last] + data[last:]


def append_other(data: bytes, dice: random.Random, other: bytes) -> bytes:
    """Another file follows."""
    return data + other


def graft_other(data: bytes, dice: random.Random, other: bytes) -> bytes:
    """From somewhere on, the file is another one."""
    return data[: dice.randrange(len(data))] + other[dice.randrange(len(other)) :]


MUTATIONS: tuple[Mutation, ...] = (
    flip_bits,
    flip_header_bits,
    cut_end,
    cut_start,
    cut_middle,
    swap_blocks,
    zero_stretch,
    noise_stretch,
    extreme_field,
    extreme_field,  # the most fruitful one
    insert_noise,
    repeat_stretch,
    append_other,
    graft_other,
)


def mutate(data: bytes, other: bytes, seed: int) -> tuple[str, bytes]:
    """Applies one to three mutations.

    Args:
        data: the file; not empty.
        other: another file; not empty.
        seed: equal seeds give equal results.

    Returns:
        Names of the mutations, joined by `+`, and the damaged file, perhaps empty.
    """
    dice = random.Random(seed)
    names = []
    for _number in range(dice.choice((1, 1, 1, 2, 3))):
        mutation = dice.choice(MUTATIONS)
        if data:
            data = mutation(data, dice, other)
            names.append(mutation.__name__)
    return "+".join(names), data


def _stretch(data: bytes, dice: random.Random) -> tuple[int, int]:
    """First and last byte of a stretch: often a few bytes, sometimes half of the file."""
    size = max(1, min(len(data), int(len(data) * 10 ** dice.uniform(-5, -0.3))))
    first = dice.randrange(len(data) - size + 1)
    return first, first + size

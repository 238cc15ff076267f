"""Makes interlaced video whose pictures are stored as fields, a packet each, which no encoder of FFmpeg writes.

H.264: macroblocks of plain samples (I_PCM), so that a few headers are all there is to write (ITU-T H.264, 7.3).
MPEG-2: what FFmpeg's encoder makes of half-high pictures, with headers that say fields (ITU-T H.262, 6.2).
"""

import io
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from tests import media_files as media

SIDE = 64  # pixels; whole macroblocks in a field as in a picture
START = b"\x00\x00\x00\x01"


def h264_packets(kinds: str, timing: bool = False) -> list[bytes]:
    """Intra pictures with their numbers on them, Annex B.

    Args:
        kinds: of each picture: `t` top field first, `b` bottom field first, a packet a field; `f` a whole picture.
        timing: the header says 25 pictures a second.
    """
    packets = []
    for number, kind in enumerate(kinds):
        luma = np.where(media.numbered_picture(number, SIDE, SIDE)[..., 0] > 128, 235, 16).astype(np.uint8)
        fields = {"t": (0, 1), "b": (1, 0), "f": (None,)}[kind]
        for place, parity in enumerate(fields):
            lines = luma if parity is None else luma[parity::2]
            headers = _headers(timing) if number == place == 0 else b""
            packets.append(headers + _slice(lines, number, parity, is_idr=number == place == 0))
    return packets


def _headers(timing: bool) -> bytes:
    blocks = SIDE // 16
    size = _count(blocks - 1) + _count(blocks // 2 - 1)  # the height counts pairs of rows of macroblocks
    vui = "1" + "0000" + "1" + f"{1:032b}{50:032b}" + "1" + "0000" if timing else "0"
    # Profile, level, number; bits of a picture's number, order, references, gaps; size; fields, direct, cropping.
    sequence = f"{77:08b}{0:08b}{30:08b}" + _count(0) + _count(0) + _count(2) + _count(1) + "0" + size + "0010" + vui
    picture = _count(0) + _count(0) + "00" + _count(0) * 3 + "000" + _count(0) * 3 + "100"
    return b"".join(START + head + _bytes(bits + "1") for head, bits in ((b"\x67", sequence), (b"\x68", picture)))


def _slice(lines: np.ndarray, number: int, parity: int | None, is_idr: bool) -> bytes:
    field = "0" if parity is None else f"1{parity}"
    marking = _count(0) + "00" if is_idr else "0"
    bits = _count(0) + _count(7) + _count(0) + f"{number % 16:04b}" + field + marking + _count(0) + _count(1)
    data = bytearray()
    for top in range(0, len(lines), 16):
        for left in range(0, SIDE, 16):
            data += _bytes(bits + _count(25))  # I_PCM; then whole bytes
            data += lines[top : top + 16, left : left + 16].tobytes() + bytes([128]) * 128
            bits = ""
    return START + (b"\x65" if is_idr else b"\x61") + bytes(data) + b"\x80"


def _count(value: int) -> str:
    """Exp-Golomb code."""
    bits = f"{value + 1:b}"
    return "0" * (len(bits) - 1) + bits


def _bytes(bits: str) -> bytes:
    bits += "0" * (-len(bits) % 8)
    data = bytearray()
    for value in int(bits, 2).to_bytes(len(bits) // 8, "big"):
        if data[-2:] == bytes(2) and value < 4:
            data.append(3)  # keeps data from looking like a start code
        data.append(value)
    return bytes(data)


def mpeg2_packets(count: int) -> list[bytes]:
    """Intra pictures with their numbers on them, top field first, a packet a field."""
    stream = io.BytesIO()
    with av.open(stream, "w", format="mpeg2video") as container:
        encoder = container.add_stream("mpeg2video", rate=25)
        encoder.width, encoder.height, encoder.pix_fmt, encoder.gop_size = SIDE, SIDE // 2, "yuv420p", 0
        encoder.options = {"qscale": "2"}
        packets = []
        for number in range(2 * count):
            picture = media.numbered_picture(number // 2, SIDE, SIDE)[number % 2 :: 2]
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            packets += [bytes(packet) for packet in encoder.encode(frame)]
        packets += [bytes(packet) for packet in encoder.encode(None)]
    return [_as_field(bytearray(packet), number) for number, packet in enumerate(packets)]


def _as_field(data: bytearray, number: int) -> bytes:
    sequence = data.find(b"\x00\x00\x01\xb3")
    if sequence >= 0:
        data[sequence + 4 : sequence + 7] = (SIDE << 12 | SIDE).to_bytes(3, "big")
        data[data.index(b"\x00\x00\x01\xb5") + 5] &= ~0x08  # not a progressive sequence
    place = data.index(b"\x00\x00\x01\x00")
    picture = int.from_bytes(data[place + 4 : place + 6], "big") & 0x3F
    data[place + 4 : place + 6] = (number // 2 % 1024 << 6 | picture).to_bytes(2, "big")
    extension = data.index(b"\x00\x00\x01\xb5", place)
    data[extension + 6] = data[extension + 6] & ~3 | (1 + number % 2)  # top, then bottom
    data[extension + 7] &= ~0xC0  # neither top field first nor frame DCT
    data[extension + 8] &= ~0x80  # not a progressive frame
    start = 0 if number % 2 == 0 else place  # the second field has no headers of its own
    return bytes(data[start:])


def mux(path: Path, packets: list[bytes], kind: str, shown: list[float], end: float = 3.0) -> Path:
    """Writes packets as they are; the suffix says which container.

    Args:
        path: where to.
        packets: of an Annex B or MPEG-2 stream.
        kind: `h264` or `mpeg2video`.
        shown: seconds of each.
        end: of the last, seconds.
    """
    with av.open(io.BytesIO(b"".join(packets)), format=kind) as raw, av.open(str(path), "w") as container:
        stream = container.add_stream_from_template(raw.streams.video[0])
        for data, seconds, after in zip(packets, shown, [*shown[1:], end], strict=True):
            packet = av.Packet(data)
            packet.stream, packet.time_base = stream, Fraction(1, 90_000)
            packet.pts = packet.dts = round(90_000 * seconds)
            packet.duration = round(90_000 * (after - seconds))
            packet.is_keyframe = seconds == 0
            container.mux(packet)
    return path

"""What encoders say beside the pictures (Exif, and kinds that do not exist yet) never loses a file."""

import struct
from fractions import Fraction

import av
import numpy as np
import pytest
from av.sidedata.sidedata import Type as SideDataType

from pemt_tf.media.clip_decoder import decode_clip
from tests import media_files as media
from tests.media.small_clips import GEOMETRY, pictures

# Exif 2.32, tag 274: how to turn the stored picture to see it upright.
UPRIGHT = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: np.rot90(stored, 2).swapaxes(0, 1),
    8: lambda stored: np.rot90(stored),
}


def corners():
    """Four shades of gray, [64, 96, 3] uint8."""
    shades = np.array([[20, 90], [160, 230]], np.uint8)
    return np.repeat(np.kron(shades, np.ones((32, 48), np.uint8))[..., None], 3, axis=-1)


def exif(orientation):
    """A segment of JPEG with the one tag."""
    tags = struct.pack("<HHHIHHI", 1, 274, 3, 1, orientation, 0, 0)
    body = b"Exif\x00\x00" + b"II*\x00" + struct.pack("<I", 8) + tags
    return b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body


def motion_jpeg(path, segment):
    """Twenty pictures, a JPEG each, with a segment put in behind its first mark."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=10)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuvj420p"
        for number in range(20):
            frame = av.VideoFrame.from_ndarray(corners(), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 10)
            for encoded in stream.encode(frame):
                data = bytes(encoded)
                packet = av.Packet(data[:2] + segment + data[2:])
                packet.stream, packet.time_base, packet.is_keyframe = stream, encoded.time_base, True
                packet.pts, packet.dts, packet.duration = encoded.pts, encoded.dts, encoded.duration
                container.mux(packet)
    return path


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("suffix", [".mov", ".avi", ".mkv"])
def test_exif_turns_the_picture_and_does_no_harm(tmp_path, suffix, orientation):
    path = motion_jpeg(tmp_path / f"a{suffix}", exif(orientation))
    clip = decode_clip(str(path), GEOMETRY)
    shown = pictures(clip)[7][..., 0].astype(int)
    height, width = shown.shape
    found = shown[[[height // 4], [3 * height // 4]], [width // 4, 3 * width // 4]]
    upright = UPRIGHT[orientation](corners())
    assert (height < width) == (upright.shape[0] < upright.shape[1])
    height, width = upright.shape[:2]
    np.testing.assert_allclose(
        found, upright[[[height // 4], [3 * height // 4]], [width // 4, 3 * width // 4], 0], atol=6
    )


def test_kinds_that_have_no_name():
    """Whatever number FFmpeg gives to the next kind."""
    assert SideDataType(10_000).value == 10_000
    assert SideDataType(10_000) != SideDataType.DISPLAYMATRIX
    assert SideDataType(SideDataType.DISPLAYMATRIX.value) is SideDataType.DISPLAYMATRIX


def box(kind, *parts):
    body = b"".join(parts)
    return struct.pack(">I", len(body) + 8) + kind + body


def photo(path):
    """As phones store it (HEIC, AVIF): one AV1 picture, and Exif as an item of its own (ISO/IEC 23008-12)."""
    coded = path.with_suffix(".mp4")
    frame = av.VideoFrame.from_ndarray(corners(), format="rgb24").reformat(format="yuv420p")
    media.write_frames(coded, [frame], "libsvtav1", preset="12")
    with av.open(str(coded)) as container:
        (picture,) = [bytes(packet) for packet in container.demux() if packet.size]
        header = container.streams.video[0].codec_context.extradata
    note = struct.pack(">I", 6) + exif(6)[4:]
    items = [(1, b"av01", picture), (2, b"Exif", note)]
    full = bytes(4)
    head = box(b"ftyp", b"avif", bytes(4), b"mif1avif")
    entries = [box(b"infe", b"\x02" + bytes(3), struct.pack(">HH", n, 0), kind, b"\0") for n, kind, _ in items]
    properties = box(b"ipco", box(b"av1C", header), box(b"ispe", full, struct.pack(">II", 96, 64)))
    links = box(b"ipma", full, struct.pack(">IHB", 1, 1, 2), b"\x81\x02")

    def meta(begin):
        places, at = [], begin
        for number, _, data in items:
            places.append(struct.pack(">HHHII", number, 0, 1, at, len(data)))
            at += len(data)
        return box(
            b"meta", full, box(b"hdlr", full, bytes(4), b"pict", bytes(13)), box(b"pitm", full, struct.pack(">H", 1)),
            box(b"iinf", full, struct.pack(">H", len(items)), *entries),
            box(b"iref", full, box(b"cdsc", struct.pack(">HHH", 2, 1, 1))),
            box(b"iprp", properties, links), box(b"iloc", full, b"\x44\x00", struct.pack(">H", len(items)), *places),
        )  # fmt: skip

    size = len(head) + len(meta(0)) + 8
    path.write_bytes(head + meta(size) + box(b"mdat", *(data for _, _, data in items)))
    return path


def test_a_photo_crashes_nothing(tmp_path):
    path = str(photo(tmp_path / "a.avif"))
    with av.open(path) as container:
        (shown,) = container.decode(video=0)
        with pytest.raises(KeyError):
            shown.side_data["NO_SUCH_KIND"]
        turned = abs(shown.rotation) == 90
    clip = decode_clip(path, GEOMETRY)  # FFmpeg says that a photo lasts a second
    assert (clip.height > clip.width) == turned

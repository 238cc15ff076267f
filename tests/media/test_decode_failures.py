"""Files that are damaged, cut, strange or too large: what is good is kept, the rest has a cause."""

import struct
import uuid
from fractions import Fraction

import av
import numpy as np
import pytest

from pemt_tf.media.clip_decoder import MediaError, decode_clip
from tests import media_files as media
from tests.media.small_clips import GEOMETRY, numbers


def test_damage_in_the_middle_keeps_the_rest(tmp_path):
    path = media.write_video(tmp_path / "a.ts", seconds=4, fps=25)
    whole = decode_clip(str(path), GEOMETRY)
    clip = decode_clip(str(media.damage(path, 0.40, 0.45)), GEOMETRY)
    assert clip.notes != ()
    assert clip.jpegs[0] == whole.jpegs[0]  # what was stored before the damage
    assert numbers(clip)[-5:] == numbers(whole)[-5:]  # and after it


def cause_of(path, **where):
    with pytest.raises(MediaError) as caught:
        decode_clip(str(path), GEOMETRY, **where)
    assert "\n" not in caught.value.detail
    return caught.value.cause


def test_causes(tmp_path):
    assert cause_of(tmp_path / "nothing.mp4") == "not_found"
    (tmp_path / "empty.mp4").touch()
    assert cause_of(tmp_path / "empty.mp4") == "open_failed"
    assert cause_of(media.not_media(tmp_path / "text.mp4")) == "open_failed"
    assert cause_of(media.write_video(tmp_path / "short.mp4", seconds=0.3)) == "too_short"
    long = media.write_video(tmp_path / "long.mp4", seconds=2)
    assert cause_of(long, start=1.8) == "too_short"
    assert cause_of(long, start=100.0) == "too_short"
    assert cause_of(media.cut(long, 0.9)) == "truncated"  # the index of an mp4 file is at its end: cut through,
    assert cause_of(media.cut(long, 0.5)) == "open_failed"  # and cut off
    assert cause_of(media.cut(media.write_video(tmp_path / "cut.mkv", seconds=4), 0.3)) == "truncated"


def test_leaping_timestamps(tmp_path):
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.options = {"preset": "ultrafast", "tune": "zerolatency"}
        for number in range(50):
            frame = av.VideoFrame.from_ndarray(media.numbered_picture(number, 48, 64), format="rgb24")
            frame.pts, frame.time_base = number + (250_000 if number > 25 else 0), Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(MediaError, match=r"bad_timestamps: the timestamps leap from 1\.0 s to 10001\.0 s"):
        decode_clip(str(path), GEOMETRY)
    assert decode_clip(str(path), GEOMETRY, start=0.0, end=1.0).end == pytest.approx(1.0, abs=0.05)


def test_too_short_tells_both_lengths(tmp_path):
    path = media.write_video(tmp_path / "short.mp4", seconds=0.32)
    with pytest.raises(MediaError, match=r"0\.320 s.*0\.500 s"):
        decode_clip(str(path), GEOMETRY)


@pytest.mark.parametrize("side", [16_000, 60_000])
def test_declared_size_is_refused_before_decoding(tmp_path, side):
    """16,000 x 16,000 is within FFmpeg's own limit, 60,000 x 60,000 is not."""
    path = media.write_video(tmp_path / "a.avi", video_codec="rawvideo", audio_codec=None)
    data = bytearray(path.read_bytes())
    place = data.index(b"strf") + 8 + 4  # the stream's header: tag, length, then size, width, height
    assert data[place : place + 8] == (64).to_bytes(4, "little") + (48).to_bytes(4, "little")
    data[place : place + 8] = side.to_bytes(4, "little") * 2
    path.write_bytes(data)
    with pytest.raises(MediaError, match=f"too_large: frames of {side} x {side}"):
        decode_clip(str(path), GEOMETRY)


def test_unknown_cause_is_a_programming_error():
    with pytest.raises(ValueError, match="not a cause"):
        MediaError("bad_luck", "")


@pytest.mark.parametrize("size", [(16_000, 4), (4_000, 4), (4, 4_000)])
def test_strips_are_refused(tmp_path, size):
    """Scaled to 48 pixels on the short side they would be 48,000 and more on the other."""
    path = media.write_video(tmp_path / "a.avi", video_codec="rawvideo", audio_codec=None, size=size, seconds=1)
    with pytest.raises(MediaError, match=rf"too_large: .*{size[0]} x {size[1]}: one side is \d+ times the other"):
        decode_clip(str(path), GEOMETRY)


def test_long_pictures_are_kept(tmp_path):
    path = media.write_video(tmp_path / "a.avi", video_codec="rawvideo", audio_codec=None, size=(1_600, 32), seconds=1)
    clip = decode_clip(str(path), GEOMETRY)
    assert (clip.height, clip.width) == (48, 2_400)


def encrypted(path, kinds):
    """Says in the header of a WebM file that tracks are encrypted: of kind 1 the pictures, of kind 2 the sound."""
    data = path.read_bytes()
    tracks = data.index(b"\x16\x54\xae\x6b", data.index(b"\x15\x49\xa9\x66", 64))  # after the list of places
    (body,) = elements(data[tracks:])[:1]
    key = element(b"\x47\xe2", bytes(range(16)))
    told = b"\x50\x31\x81\x00\x50\x32\x81\x01\x50\x33\x81\x01" + element(b"\x50\x35", b"\x47\xe1\x81\x05" + key)
    told = element(b"\x6d\x80", element(b"\x62\x40", told))
    grown = b"".join(
        element(name, part + (told if name == b"\xae" and any(bytes([0x83, 0x81, k]) in part for k in kinds) else b""))
        for name, part, _ in elements(body[1])
    )
    path.write_bytes(data[:tracks] + element(b"\x16\x54\xae\x6b", grown) + data[tracks + body[2] :])
    return path


def element(name, body):
    return name + (len(body) | 1 << 56).to_bytes(8, "big") + body


def elements(data):
    """Name, body and whole size of the EBML elements one after the other; the first of an unknown number is enough."""
    found, place = [], 0
    while place < len(data) and data[place] and len(found) < 9:
        start = place
        name, place = data[place : place + (9 - data[place].bit_length())], place + 9 - data[place].bit_length()
        width = 9 - data[place].bit_length()
        size = int.from_bytes(data[place : place + width], "big") & ((1 << (7 * width)) - 1)
        place += width + size
        found.append((name, data[place - size : place], place - start))
    return found


def test_encrypted_webm(tmp_path):
    for kinds in ((1,), (1, 2)):
        path = media.write_video(tmp_path / "a.webm", container_options={"live": "1"})
        with pytest.raises(MediaError, match="encrypted: 50 of 50 packets are encrypted"):
            decode_clip(str(encrypted(path, kinds)), GEOMETRY)
    path = encrypted(media.write_video(tmp_path / "a.webm", container_options={"live": "1"}), (2,))
    clip = decode_clip(str(path), GEOMETRY)
    assert clip.waveform is None and clip.notes == ("the audio is encrypted and was left out",)
    path = media.write_video(tmp_path / "a.webm", video_codec=None, container_options={"live": "1"})
    assert cause_of(encrypted(path, (2,))) == "encrypted"


@pytest.mark.parametrize(("tag", "name"), [(b"avc1", b"encv"), (b"avc1", b"drmi"), (b"mp4a", b"drms")])
def test_encrypted_mp4(tmp_path, tag, name):
    """As shops sell them: the sample entry is named so, and says nothing more."""
    only = {"audio_codec": None} if tag == b"avc1" else {"video_codec": None}
    path = media.write_video(tmp_path / "a.mp4", **only)
    path.write_bytes(path.read_bytes().replace(tag, name))
    assert cause_of(path) == "encrypted"


@pytest.mark.parametrize("lead", [0, 4])
def test_scrambled_transport_streams(tmp_path, lead):
    """As recorded from a broadcast without its card: the tables are clear, all of a stream's packets are noise."""
    plain = media.write_video(tmp_path / "a.ts").read_bytes()

    def scrambled(pids):
        data, noise, out = bytearray(plain), np.random.default_rng(0), b""
        for packet in range(0, len(data), 188):
            if (data[packet + 1] & 31) << 8 | data[packet + 2] in pids:
                data[packet + 3] |= 0x80
                begin = packet + 4 + (1 + data[packet + 4] if data[packet + 3] & 0x20 else 0)
                data[begin : packet + 188] = noise.bytes(max(packet + 188 - begin, 0))
            out += bytes(lead) + data[packet : packet + 188]
        path = tmp_path / "b.m2ts"
        path.write_bytes(out)
        return path

    assert cause_of(scrambled({256})) == cause_of(scrambled({256, 257})) == "encrypted"
    clip = decode_clip(str(scrambled({257})), GEOMETRY)
    assert clip.waveform is None and clip.notes == ("the audio is encrypted and was left out",)


def test_encrypted_asf(tmp_path):
    path = media.write_video(tmp_path / "a.asf", video_codec="msmpeg4", audio_codec=None)
    data = bytearray(path.read_bytes())
    strings = b"".join(struct.pack("<I", len(one)) + one for one in (b"secret", b"DRM\0", b"key\0", b"http://x\0"))
    entry = uuid.UUID("2211B3FB-BD23-11D2-B4B7-00A0C955FC6E").bytes_le + struct.pack("<Q", 24 + len(strings)) + strings
    size, count = struct.unpack("<QI", data[16:28])
    data[16:28] = struct.pack("<QI", size + len(entry), count + 1)
    data[30:30] = entry
    path.write_bytes(data)
    assert cause_of(path) == "encrypted"


@pytest.mark.parametrize(
    ("video_codec", "audio_codec"), [("mpeg2video", None), ("libx264", None), ("libx264", "usual")]
)
def test_pictures_that_never_decode(tmp_path, video_codec, audio_codec):
    """In a transport stream FFmpeg itself looks for pictures: in noise it sees one, without length, or gives up."""
    path = media.write_video(tmp_path / "a.ts", video_codec=video_codec, audio_codec=audio_codec, seconds=4)
    data = bytearray(path.read_bytes())
    noise = np.random.default_rng(0)
    for packet in range(0, len(data), 188):
        if (data[packet + 1] & 31) << 8 | data[packet + 2] == 256:  # the pictures
            begin = packet + 4
            begin += 1 + data[begin] if data[packet + 3] & 0x20 else 0
            begin += 9 + data[begin + 8] if data[packet + 1] & 0x40 else 0
            data[begin : packet + 188] = noise.bytes(max(packet + 188 - begin, 0))
    path.write_bytes(data[: packet + 188])
    assert cause_of(path) == "zero_frames"

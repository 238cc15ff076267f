"""Interlaced video whose pictures are stored as two fields, a packet each: counted, timed and shown as pictures."""

import io

import av
import numpy as np
import pytest

from pemt_tf.media.clip_decoder import FailedWindow, MediaError, decode_clip, decode_windows
from pemt_tf.media.interlaced_fields import SecondFields
from pemt_tf.media.media_file import MediaFile
from tests import media_files as media
from tests.field_video import h264_packets, mpeg2_packets, mux
from tests.media.small_clips import GEOMETRY, numbers, wanted_moments

RATE = 25
KINDS = {"fields": "t" * 75, "bottom_first": "b" * 75, "mixed": "t" * 20 + "f" * 30 + "b" * 25, "whole": "f" * 75}


def shown_at(kinds):
    """The moment of each packet: pictures 25 a second, the second field half a picture later."""
    return [number / RATE + half for number, kind in enumerate(kinds) for half in ((0, 0.02) if kind in "tb" else (0,))]


def is_second(kinds):
    return [half for kind in kinds for half in ((False, True) if kind in "tb" else (False,))]


def expected(end):
    return [int((moment + 1e-3) * RATE) for moment in wanted_moments(0, end)]


@pytest.mark.parametrize("kinds", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts", ".mpg"])
def test_h264(tmp_path, kinds, suffix):
    path = mux(tmp_path / f"a{suffix}", h264_packets(kinds), "h264", shown_at(kinds))
    with MediaFile(str(path)) as file:
        file.index()
        assert file.second_fields.tolist() == is_second(kinds)
    clip = decode_clip(str(path), GEOMETRY)
    assert numbers(clip) == expected(3.0)
    assert clip.notes == () and clip.end == pytest.approx(3, abs=0.02)
    assert clip.source.frame_rate == pytest.approx(RATE, rel=0.02)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts", ".mpg"])
def test_mpeg2(tmp_path, suffix):
    shown = [number / 50 for number in range(150)]
    path = mux(tmp_path / f"a{suffix}", mpeg2_packets(75), "mpeg2video", shown)
    clip = decode_clip(str(path), GEOMETRY)
    assert numbers(clip)[0] == 0 and np.abs(np.subtract(numbers(clip), expected(3.0))).max() <= 1
    assert clip.notes == () and clip.end == pytest.approx(3, abs=0.04)
    assert clip.source.frame_rate == pytest.approx(RATE, rel=0.02)


@pytest.mark.parametrize("timing", [False, True])
@pytest.mark.parametrize("kinds", [KINDS["fields"], KINDS["mixed"]])
def test_raw_streams_are_as_long_as_their_pictures(tmp_path, kinds, timing):
    path = tmp_path / "a.264"
    path.write_bytes(b"".join(h264_packets(kinds, timing)))
    clip = decode_clip(str(path), GEOMETRY)
    assert clip.end == pytest.approx(3.0)
    assert numbers(clip) == expected(3.0)
    assert clip.source.frame_rate == pytest.approx(RATE)


def test_raw_mpeg2(tmp_path):
    path = tmp_path / "a.m2v"
    path.write_bytes(b"".join(mpeg2_packets(75)))
    assert decode_clip(str(path), GEOMETRY).end == pytest.approx(3.0, abs=0.05)


def test_windows(tmp_path):
    """Whole ones of 12 and 13 pictures, each as long as its fields."""
    path = mux(tmp_path / "a.mp4", h264_packets(KINDS["mixed"]), "h264", shown_at(KINDS["mixed"]))
    made = list(decode_windows(str(path), GEOMETRY, seconds=0.5, stride=0.5))
    assert len(made) == 6 and not any(isinstance(one, FailedWindow) for one in made)
    assert [numbers(one)[0] for one in made] == [0, 12, 25, 37, 50, 62]
    from_one_second = decode_clip(str(path), GEOMETRY, start=1.0)
    assert numbers(from_one_second)[0] == 25


@pytest.mark.parametrize(("share", "outcome"), [(0.3, "kept"), (0.45, "kept"), (0.6, "decode_failed")])
def test_damage_counts_by_pictures(tmp_path, share, outcome):
    """Of 75 pictures a share is noise, both fields; more than half must be good."""
    packets = h264_packets(KINDS["fields"])
    noise = np.random.default_rng(0)
    for number in range(10, 10 + round(75 * share)):
        for place in (2 * number, 2 * number + 1):
            packets[place] = packets[place][:4] + b"\x7f" + noise.bytes(len(packets[place]) - 5)
    path = mux(tmp_path / "a.mkv", packets, "h264", shown_at(KINDS["fields"]))
    if outcome == "kept":
        assert numbers(decode_clip(str(path), GEOMETRY))[0] == 0
    else:
        with pytest.raises(MediaError, match=outcome):
            decode_clip(str(path), GEOMETRY)


def test_headers_of_other_encoders_are_read_over(tmp_path):
    """Interlaced pictures that x264 stores whole (MBAFF), with all that its headers may hold, have no second fields."""
    for options in ({"x264-params": "interlaced=1:b-pyramid=none"}, {"x264-params": "tff=1:cqm=jvt:8x8dct=1"}):
        for pixel_format in ("yuv420p", "yuv444p", "yuv420p10le"):
            path = media.write_video(
                tmp_path / "a.mkv", audio_codec=None, seconds=1, options=options, pixel_format=pixel_format
            )
            with MediaFile(str(path)) as file:
                file.index()
                assert len(file.second_fields) == 25 and not file.second_fields.any()


def test_noise_is_no_field_and_no_error():
    generator = np.random.default_rng(1)
    stream = io.BytesIO(b"".join(h264_packets("tt")))
    with av.open(stream, format="h264") as container:
        fields = SecondFields(container.streams.video[0])
        for size in [0, 1, 2, 5, 40, 400] * 40:
            fields.is_second(av.Packet(generator.bytes(size)))
            fields.is_second(av.Packet(b"\x00\x00\x01" + bytes([generator.integers(32)]) + generator.bytes(size)))

"""Files that are damaged, cut, strange or too large: what is good is kept, the rest has a cause."""

from fractions import Fraction

import av
import pytest

from pemt_tf.features.decode import MediaError, decode_clip
from tests import media
from tests.features.small_clips import GEOMETRY, numbers


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
    with pytest.raises(MediaError, match=f"too_large: pictures of {side} x {side}"):
        decode_clip(str(path), GEOMETRY)


def test_unknown_cause_is_a_programming_error():
    with pytest.raises(ValueError, match="not a cause"):
        MediaError("bad_luck", "")

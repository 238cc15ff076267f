"""How long a clip is: what there is to see and hear, whatever the header and the last packet say."""

import struct
from pathlib import Path

import av
import numpy as np
import pytest

from pemt_tf.media.clip_decoder import DecodeSettings, FailedWindow, MediaError, decode_clip, decode_windows
from pemt_tf.media.packet_index import PacketList, StreamIndex, hold_slides
from tests import media_files as media
from tests.media.small_clips import GEOMETRY, numbers

ODD_MEDIA = Path(__file__).parents[3] / "shared" / "odd_media"


class _Packet:
    """What the index asks of a packet."""

    def __init__(self, duration):
        self.duration, self.is_discard, self.is_keyframe = duration, False, True

    def has_sidedata(self, _):
        return False


def index_of(times, durations, is_audio=False):
    packets = PacketList(is_audio)
    for place, (time, duration) in enumerate(zip(times, durations, strict=True)):
        packets.add(_Packet(duration), place, time, time, 1)
    return packets.index()


@pytest.mark.parametrize(
    ("times", "durations", "is_audio", "end"),
    [
        (np.arange(35) * 0.02, [0.02] * 34 + [2**32 / 16_000], True, 0.70),  # Speex, 2**32 ticks
        (np.arange(35) * 0.02, [0.02] * 10 + [2**32 / 16_000] + [0.02] * 24, True, 0.70),
        (np.arange(200) * 0.04, [0.04] * 199 + [3600.0], False, 8.0),
        (np.arange(200) * 0.04, [0.0] * 200, False, 8.0),
        ([0.0, 0.5, 4.0], [0.5, 3.5, 20.0], False, 24.0),  # the last picture is to be held
        ([0.0], [5.0], False, 5.0),
        ([0.0], [2**32 / 12_800], False, 0.0),
        ([1.0, 0.0, 0.5], [0.5, 0.5, 0.5], False, 1.5),  # not in order of time
    ],
)
def test_absurd_last_durations(times, durations, is_audio, end):
    assert index_of(times, durations, is_audio).end == pytest.approx(end, abs=0.03)


def spans(pictures, sound):
    """The stretch of pictures at `pictures` seconds, the last as long as those before, under sound from 0 on."""
    last = pictures[-1] + (np.diff(pictures)[-1] if len(pictures) > 1 else 0.04)
    index = StreamIndex(np.array(pictures), np.zeros(len(pictures)), np.ones(len(pictures), bool), pictures[0], last, 0)
    hold_slides(index, StreamIndex(np.arange(0, sound, 0.02), np.zeros(0), np.zeros(0, bool), 0.0, sound, 0))
    return index.start, index.end


def test_slides_last_as_long_as_the_sound():
    assert spans([0.0, 90.0, 180.0], 230.0) == (0.0, 230.0)
    assert spans([0.0], 3.0) == (0.0, 3.0)
    assert spans([2.0], 3.3) == (0.0, 3.3)
    assert spans([0.0, 6.0], 6.1) == (0.0, 6.1)  # not 12 s, half of it in silence
    assert spans([0.0, 6.0], 4.0) == (0.0, 7.0)  # the last picture is seen, too
    assert spans([0.0, 10.0, 20.0], 30.3) == (0.0, 30.0)  # less than a second off: as the pictures say
    assert spans(list(np.arange(100) / 25), 60.0) == (0.0, 4.0)  # a film with longer sound is no slide


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts", ".avi", ".webm"])
def test_one_picture_under_sound(tmp_path, suffix):
    def fifth(_, height, width):
        return media.numbered_picture(5, height, width)

    path = media.write_video(tmp_path / f"a{suffix}", seconds=0.04, audio_seconds=3, picture=fifth)
    clip = decode_clip(str(path), GEOMETRY)
    assert numbers(clip) == [5] * 15
    assert clip.end - clip.start == pytest.approx(3.0, abs=0.06)
    assert np.sqrt((clip.waveform**2).mean()) == pytest.approx(0.5 / np.sqrt(2), rel=0.1)  # MP3 begins with silence
    windows = list(decode_windows(str(path), GEOMETRY, 1.0, 1.0, end=2.9))
    assert [set(numbers(window)) for window in windows] == [{5}] * 2 and windows[0].waveform is not None
    part = decode_clip(str(path), GEOMETRY, start=1.5, end=2.5)
    assert (part.start, part.end) == (1.5, 2.5) and numbers(part) == [5] * 15


def test_slides_far_apart_under_sound(tmp_path):
    """A picture every 80 s: more than a hole may be where there is nothing else."""
    with_sound, mute = (
        str(
            media.write_video(
                tmp_path / f"{codec}.mkv", fps=1 / 80, seconds=240, audio_codec=codec, sample_rate=8_000, key_every=1
            )
        )
        for codec in ("aac", None)
    )
    clip = decode_clip(with_sound, GEOMETRY)
    assert numbers(clip) == [0] * 5 + [1] * 5 + [2] * 5
    assert clip.end == pytest.approx(240.0, abs=0.3)
    assert np.abs(clip.waveform).max(axis=1).min() > 0.4
    windows = list(decode_windows(with_sound, GEOMETRY, 5.0, 50.0))
    assert [set(numbers(window)) for window in windows] == [{0}, {0}, {1}, {1}, {2}]
    assert set(numbers(decode_clip(with_sound, GEOMETRY, start=100.0, end=110.0))) == {1}
    with pytest.raises(MediaError, match="bad_timestamps"):
        decode_clip(mute, GEOMETRY)
    assert isinstance(list(decode_windows(mute, GEOMETRY, 5.0, 5.0, end=200.0))[2], FailedWindow)


def test_pictures_that_end_at_once_leave_the_sound(tmp_path):
    """0.12 s of pictures, 1.1 s of sound: the sound is a clip."""
    path = str(media.write_video(tmp_path / "a.webm", video_codec="libvpx", seconds=0.12, audio_seconds=1.1))
    clip = decode_clip(path, GEOMETRY)
    assert clip.jpegs is None and clip.end == pytest.approx(1.1, abs=0.03)
    assert np.sqrt((clip.waveform**2).mean()) == pytest.approx(0.5 / np.sqrt(2), rel=0.05)
    assert clip.notes == ("the video lasts only 0.12 s: the clip is audio only",)
    assert [window.jpegs for window in decode_windows(path, GEOMETRY, 0.5, 0.5)] == [None, None]
    with pytest.raises(MediaError, match="too_short"):
        decode_clip(str(media.write_video(tmp_path / "b.mp4", seconds=0.12, audio_seconds=0.3)), GEOMETRY)


@pytest.mark.parametrize("share", [0.75, 1.0])
def test_damaged_pictures_leave_good_sound(tmp_path, share):
    whole = media.write_video(tmp_path / "a.mkv", video_codec="mpeg4", audio_codec="aac", seconds=2.5)
    damaged = tmp_path / "b.mkv"
    random = np.random.default_rng(0)
    with av.open(str(whole)) as source, av.open(str(damaged), "w") as container:
        streams = {stream.index: container.add_stream_from_template(stream) for stream in source.streams}
        for number, packet in enumerate(source.demux()):
            if not packet.size:
                continue
            kept = packet
            if packet.stream.type == "video" and number % 100 < 100 * share:
                kept = av.Packet(random.bytes(packet.size))
                kept.pts, kept.dts, kept.time_base = packet.pts, packet.dts, packet.time_base
            kept.stream = streams[packet.stream_index]
            container.mux(kept)
    clip = decode_clip(str(damaged), GEOMETRY)
    assert clip.jpegs is None and clip.end == pytest.approx(2.5, abs=0.05)
    np.testing.assert_allclose(clip.waveform, decode_clip(str(whole), GEOMETRY).waveform, atol=1e-4)
    assert any("the frames are left out" in note for note in clip.notes)
    with pytest.raises(MediaError, match=r"decode_failed|zero_frames"):
        decode_clip(str(_without_sound(damaged, tmp_path / "c.mkv")), GEOMETRY)


def _without_sound(path, target):
    with av.open(str(path)) as source, av.open(str(target), "w") as container:
        stream = container.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                container.mux(packet)
    return target


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_tracks_that_were_not_chosen_do_not_count(tmp_path, suffix):
    """The second track of sound is three times as long as pictures and first track; the header counts it."""
    path = tmp_path / f"a{suffix}"
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt, video.options = 64, 48, "yuv420p", {"preset": "ultrafast"}
        sources = [(video, media._pictures(video, video.codec_context.framerate, 75, media.numbered_picture, 0.0))]
        for seconds in (3.0, 12.0):
            stream = container.add_stream("aac", rate=48_000, layout="mono")
            sources.append((stream, media._sounds(48_000, "mono", seconds, media.sine(440), 0.0)))
        media._mux_by_time(container, sources)
    clip = decode_clip(str(path), GEOMETRY, settings=DecodeSettings(audio_stream=0))
    assert clip.end == pytest.approx(3.0, abs=0.05) and clip.notes == ()
    other = decode_clip(str(path), GEOMETRY, settings=DecodeSettings(audio_stream=1), end=3.0)
    assert other.end == pytest.approx(3.0, abs=0.05)
    # Cut after the pictures, or before their end: only the latter is worth a word.
    with pytest.raises(MediaError, match=r"truncated|open_failed"):
        decode_clip(str(media.cut(path, 0.2)), GEOMETRY, settings=DecodeSettings(audio_stream=0))


def test_a_header_that_claims_an_hour(tmp_path):
    """Matroska says how many bytes its segment has; all are there, so nothing was cut off."""
    path = media.write_video(tmp_path / "a.mkv", seconds=4, audio_codec=None)
    data = bytearray(path.read_bytes())
    place = data.index(b"\x44\x89\x88") + 3  # Duration, eight bytes
    assert struct.unpack(">d", data[place : place + 8])[0] == pytest.approx(4000.0)
    data[place : place + 8] = struct.pack(">d", 3_600_000.0)
    path.write_bytes(data)
    clip = decode_clip(str(path), GEOMETRY)
    assert clip.end == pytest.approx(4.0) and clip.notes == ()
    with pytest.raises(MediaError, match=r"truncated: .* of 3600\.00 s"):
        decode_clip(str(media.cut(path, 0.5)), GEOMETRY)


@pytest.mark.skipif(not ODD_MEDIA.exists(), reason=f"no {ODD_MEDIA}")
@pytest.mark.parametrize(
    ("name", "end"),
    [
        ("audio2_longer.mp4", 4),
        ("audio2_longer.mkv", 4),
        ("subs_longer.mkv", 4),
        ("lastdur1h.mkv", 8),
        ("slides90.mp4", 450),
    ],
)
def test_files_that_were_lost(name, end):
    clip = decode_clip(str(ODD_MEDIA / name), GEOMETRY)
    assert clip.end == pytest.approx(end, abs=0.05) and clip.notes == ()

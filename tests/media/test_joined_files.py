"""Files that were joined byte by byte, as `cat a.ts b.ts` does: the first one counts, a note says what is left out."""

import av
import numpy as np
import pytest

from pemt_tf.media import media_file
from pemt_tf.media.clip_decoder import MediaError, decode_clip, decode_windows
from pemt_tf.media.packet_index import restart
from tests import media_files as media
from tests.media.small_clips import GEOMETRY, numbers

FRAGMENTS = {"movflags": "frag_keyframe+empty_moov"}
PARTS = {
    ".ts": {},
    ".mpg": {},
    ".webm": {"video_codec": "libvpx"},
    ".mkv": {"options": {"bf": "3", "x264-params": "bframes=3:b-adapt=0"}},
    ".mp4": {"container_options": FRAGMENTS},
}


def shifted(number, height, width):
    return media.numbered_picture(2000 + number, height, width)


def write_parts(folder, suffix, lengths=(3.0, 5.0), **second):
    """Two files that differ in pictures and pitch, and the two joined."""
    first = media.write_video(folder / f"a{suffix}", seconds=lengths[0], tone=media.sine(440), **PARTS[suffix])
    settings = {"picture": shifted, "tone": media.sine(880), **PARTS[suffix], **second}
    after = media.write_video(folder / f"b{suffix}", seconds=lengths[1], **settings)
    joined = folder / f"joined{suffix}"
    joined.write_bytes(first.read_bytes() + after.read_bytes())
    return str(first), str(after), str(joined)


def assert_same(clip, expected):
    assert (clip.start, clip.end) == (expected.start, pytest.approx(expected.end, abs=0.05))
    assert clip.jpegs == expected.jpegs
    assert np.abs(clip.waveform - expected.waveform).max() < 1e-4


def assert_like(clip, expected):
    """As above, where the last picture is said to be shown a little longer or shorter."""
    assert clip.end == pytest.approx(expected.end, abs=0.05)
    assert (clip.jpegs is None, clip.waveform is None) == (expected.jpegs is None, expected.waveform is None)
    if clip.jpegs is not None:
        assert np.abs(np.subtract(numbers(clip), numbers(expected))).max() <= 1
    if clip.waveform is not None:
        assert strongest(clip) == strongest(expected)


def strongest(clip):
    """The pitch of each segment, in steps of 2 Hz."""
    return np.abs(np.fft.rfft(clip.waveform[:, :7_000], 8_000)).argmax(axis=1).tolist()


@pytest.mark.parametrize("suffix", list(PARTS))
def test_the_first_part_is_taken_and_a_note_tells(tmp_path, suffix):
    first, after, joined = write_parts(tmp_path, suffix)
    whole = decode_clip(joined, GEOMETRY)
    assert_same(whole, decode_clip(first, GEOMETRY))
    length = decode_clip(after, GEOMETRY).end
    (note,) = whole.notes
    assert "timestamps restart" in note
    assert float(note.split("(about ")[1].split(" s)")[0]) == pytest.approx(length, abs=0.3)
    for where in ({"start": 0.5, "end": 1.5}, {"start": 1.75, "end": 2.75}, {"start": 1.5}):
        assert_same(decode_clip(joined, GEOMETRY, **where), decode_clip(first, GEOMETRY, **where))
    windows = [list(decode_windows(path, GEOMETRY, 1.0, 0.75)) for path in (joined, first)]
    assert len(windows[0]) == len(windows[1]) > 2
    for window, expected in zip(*windows, strict=True):
        assert_same(window, expected)
    with pytest.raises(MediaError, match="too_short"):
        decode_clip(joined, GEOMETRY, start=3.5, end=4.5)


@pytest.mark.parametrize("suffix", [".ts", ".mpg", ".mkv", ".mp4"])
def test_seeking_does_not_end_in_another_part(tmp_path, suffix, monkeypatch):
    """Whatever the part's length: the moment that is sought is there in each of them."""
    monkeypatch.setattr(media_file, "SMALL_BYTES", 0)
    for lengths in ((12.0, 14.0), (14.0, 12.0)):
        first, _, joined = write_parts(tmp_path, suffix, lengths, size=(96, 64))
        where = {"start": 8.0, "end": 9.0}
        assert_same(decode_clip(joined, GEOMETRY, **where), decode_clip(first, GEOMETRY, **where))
    with pytest.raises(MediaError, match="too_short"):
        decode_clip(write_parts(tmp_path, suffix, (6.0, 14.0))[2], GEOMETRY, start=8.0, end=9.0)


@pytest.mark.parametrize("lost", ["video_codec", "audio_codec"])
def test_a_part_that_lacks_a_stream(tmp_path, lost):
    first, _, joined = write_parts(tmp_path, ".ts", **{lost: None})
    assert_like(decode_clip(joined, GEOMETRY), decode_clip(first, GEOMETRY))
    alone = media.write_video(tmp_path / "c.ts", seconds=3, tone=media.sine(440), **{lost: None})
    full = media.write_video(tmp_path / "d.ts", seconds=5, picture=shifted, tone=media.sine(880))
    (tmp_path / "e.ts").write_bytes(alone.read_bytes() + full.read_bytes())
    assert_like(*(decode_clip(str(path), GEOMETRY) for path in (tmp_path / "e.ts", alone)))


def test_parts_that_number_their_streams_differently(tmp_path):
    """FFmpeg then shows four streams, and those chosen may belong to different parts."""
    first = media.write_video(tmp_path / "a.ts", seconds=5, audio_codec=None)
    options = {"mpegts_start_pid": "500"}
    after = media.write_video(
        tmp_path / "b.ts", seconds=6, picture=shifted, video_codec=None, tone=media.sine(880), container_options=options
    )
    path = tmp_path / "c.ts"
    path.write_bytes(first.read_bytes() + after.read_bytes())
    with av.open(str(path)) as container:
        assert [stream.id for stream in container.streams] == [256, 500]
    clip = decode_clip(str(path), GEOMETRY)
    assert_like(clip, decode_clip(str(first), GEOMETRY))
    assert "timestamps restart" in clip.notes[0]


def test_other_codecs_and_sizes_in_the_second_part(tmp_path):
    other = {"video_codec": "mpeg2video", "audio_codec": "mp2", "size": (96, 64), "sample_rate": 32_000}
    first, _, joined = write_parts(tmp_path, ".ts", **other)
    assert_like(decode_clip(joined, GEOMETRY), decode_clip(first, GEOMETRY))


@pytest.mark.parametrize("suffix", [".flv", ".mp4", ".asf"])
def test_what_ffmpeg_never_reads_is_noted(tmp_path, suffix, monkeypatch):
    monkeypatch.setitem(media.USUAL_CODECS, ".flv", ("flv", "libmp3lame"))
    path = media.write_video(tmp_path / f"a{suffix}", seconds=2, sample_rate=44_100)
    clip = decode_clip(str(path), GEOMETRY)
    assert clip.notes == ()
    path.write_bytes(2 * path.read_bytes())
    joined = decode_clip(str(path), GEOMETRY)
    assert joined.jpegs == clip.jpegs and joined.end == pytest.approx(clip.end, abs=0.05)
    assert "joined files" in joined.notes[0] and len(joined.notes) == 1


def test_parts_that_go_on_are_one_film(tmp_path):
    """The second part's timestamps begin where the first one's end: nothing to leave out."""
    part = media.write_video(tmp_path / "a.ts", seconds=3)
    path = tmp_path / "b.ts"
    path.write_bytes(_with_offset(part, path, 0.0) + _with_offset(part, path, 3.0))
    clip = decode_clip(str(path), GEOMETRY)
    assert clip.end == pytest.approx(6.0, abs=0.1)
    assert numbers(clip)[0] == 0 and numbers(clip)[-1] in (72, 73, 74)
    assert not any("joined" in note for note in clip.notes)


def _with_offset(path, target, seconds):
    with av.open(str(path)) as source, av.open(str(target), "w") as container:
        streams = {stream.index: container.add_stream_from_template(stream) for stream in source.streams}
        for packet in source.demux():
            if packet.size:
                moved = round(seconds / packet.time_base) - round((source.start_time or 0) / 1e6 / packet.time_base)
                packet.pts, packet.dts = packet.pts + moved, packet.dts + moved
                packet.stream = streams[packet.stream_index]
                container.mux(packet)
    return target.read_bytes()


@pytest.mark.parametrize(
    ("stamps", "first"),
    [
        (np.arange(100) / 25, None),
        (np.tile(np.arange(100) / 25, 2), 100),
        (np.tile(np.arange(10) / 25, 3), 10),  # parts of 0.4 s
        (np.concatenate([np.arange(5.0), np.arange(9.0)]), 5),  # a picture a second
        (np.concatenate([50 + np.arange(100) / 25, np.arange(100) / 25]), 100),
        (np.arange(100) / 25 + 1000 * (np.arange(100) == 50), None),  # one wild stamp
        (np.arange(100) / 25 - 2 * (np.isin(np.arange(100), (50, 51))), None),
        (np.arange(100) / 25 + 0.1 * np.sin(np.arange(100)), None),
        (np.where(np.arange(200) % 3 == 0, np.nan, np.tile(np.arange(100) / 25, 2)), 100),
        (np.full(100, np.nan), None),
        (np.zeros(0), None),
    ],
)
def test_where_timestamps_start_anew(stamps, first):
    found = restart(stamps)
    assert found == first or (first is not None and np.isnan(stamps[first]) and found == first + 1)

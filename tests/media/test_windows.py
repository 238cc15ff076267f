"""Many clips of one file, decoded in one pass: each must be what decoding it alone gives."""

import io

import numpy as np
import pytest

from pemt_tf.media import media_file
from pemt_tf.media.clip_decoder import DecodedClip, FailedWindow, MediaError, decode_clip, decode_windows
from pemt_tf.media.clip_range import window_starts
from tests import media_files as media
from tests.media.small_clips import GEOMETRY, expected_numbers, numbers, plain_decode, wanted_moments

B_FRAMES = {"bf": "3", "x264-params": "bframes=3:b-adapt=0"}


@pytest.mark.parametrize(
    ("suffix", "seconds", "stride", "where"),
    [
        (".mp4", 2.0, 2.0, {}),
        (".mp4", 3.0, 1.25, {}),  # overlapping
        (".mp4", 1.0, 7.0, {}),  # most is left out
        (".mkv", 2.5, 2.5, {"start": 7.3, "end": 19.0}),
        (".ts", 2.0, 3.0, {}),
        (".webm", 2.0, 4.0, {"start": 9.0}),
        (".avi", 2.0, 2.0, {}),
    ],
)
def test_windows_equal_clips_of_the_same_stretch(tmp_path, suffix, seconds, stride, where):
    options = B_FRAMES if suffix in (".mp4", ".mkv") else None
    path = str(
        media.write_video(tmp_path / f"a{suffix}", seconds=20, sample_rate=48_000, key_every=40, options=options)
    )
    windows = list(decode_windows(path, GEOMETRY, seconds, stride, **where))
    first, last = where.get("start", windows[0].start), where.get("end", decode_clip(path, GEOMETRY).end)
    assert [window.start for window in windows] == pytest.approx(
        [first + k * stride for k in range(100) if first + k * stride + seconds <= last + 0.05]
    )
    for window in windows[:: max(1, len(windows) // 4)]:
        alone = decode_clip(path, GEOMETRY, window.start, window.start + seconds)
        assert (alone.start, alone.end) == (window.start, window.end)
        if suffix != ".avi":  # which has no presentation times: after seeking they are a guess
            assert window.image_times == alone.image_times
            assert window.jpegs == alone.jpegs
        # Millisecond containers (mkv, webm) round where decoding begins: 440 Hz, 1 ms off, amplitude 0.5.
        tolerance = 0.01 if suffix in (".mp4", ".ts") else 1.45
        assert np.abs(window.waveform - alone.waveform).max() < tolerance
        assert window.content.loudness_db == pytest.approx(alone.content.loudness_db, abs=0.1)


def test_windows_show_what_a_plain_decode_shows(tmp_path):
    path = media.write_video(tmp_path / "a.mov", seconds=8, fps=30, key_every=60)
    frames = plain_decode(path)
    windows = list(decode_windows(str(path), GEOMETRY, 2.0, 1.0))
    assert len(windows) == 7
    for number, window in enumerate(windows):
        assert numbers(window) == expected_numbers(frames, wanted_moments(number, number + 2.0))
        wave = 0.5 * np.sin(
            2 * np.pi * 440 * (number + np.array([0.0, 0.75, 1.5])[:, None] + np.arange(8_000) / 16_000)
        )
        assert np.abs(window.waveform - wave)[:, 400:-400].max() < 0.02


def test_a_rest_is_dropped_and_half_a_frame_is_forgiven():
    assert window_starts(1.0, 4.5, 1.0, 1.0).tolist() == [1.0, 2.0, 3.0]
    assert window_starts(0.0, 2.99, 1.0, 1.0).tolist() == [0.0, 1.0]
    assert window_starts(0.0, 2.99, 1.0, 1.0, slack=0.02).tolist() == [0.0, 1.0, 2.0]
    assert window_starts(0.0, 0.3, 0.1, 0.1).tolist() == pytest.approx([0.0, 0.1, 0.2])
    assert window_starts(0.0, 0.9, 1.0, 1.0).tolist() == []
    assert window_starts(0.0, 10.0, 1.0, 4.0).tolist() == [0.0, 4.0, 8.0]


def test_arguments_and_short_files_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"windows of 0\.4 s hold no segment; one segment is 0\.500 s"):
        decode_windows("nothing.mp4", GEOMETRY, 0.4, 1.0)
    with pytest.raises(ValueError, match="must be more than 0"):
        decode_windows("nothing.mp4", GEOMETRY, 1.0, 0.0)
    with pytest.raises(MediaError, match="not_found"):
        next(decode_windows(str(tmp_path / "nothing.mp4"), GEOMETRY, 1.0, 1.0))
    path = str(media.write_video(tmp_path / "a.mp4", seconds=1.6))
    with pytest.raises(MediaError, match=r"too_large: 160000 windows from 0\.0 s to 1\.6 s; at most 50000"):
        next(decode_windows(path, GEOMETRY, 1.0, 1e-5))
    with pytest.raises(MediaError, match=r"too_short: the clip is 1\.600 s; one window is 2 s"):
        next(decode_windows(path, GEOMETRY, 2.0, 2.0))


def test_damage_costs_the_windows_that_it_is_in(tmp_path):
    path = media.write_video(tmp_path / "a.mp4", seconds=10, fps=25)
    whole = list(decode_windows(str(path), GEOMETRY, 2.0, 2.0))
    data = path.read_bytes()
    coded = data.index(b"mdat") / len(data)
    assert coded < 0.1, "the data does not come first"
    # About 4.2 to 5.8 s of the ten: within the third window.
    made = list(decode_windows(str(media.damage(path, 0.40, 0.54)), GEOMETRY, 2.0, 2.0))
    assert [type(window) for window in made] == [DecodedClip, DecodedClip, FailedWindow, DecodedClip, DecodedClip]
    failed = made[2]
    assert (failed.start, failed.end, failed.cause) == (4.0, 6.0, "decode_failed")
    for place in (0, 1, 4):
        assert made[place].jpegs == whole[place].jpegs


def test_streams_of_different_lengths(tmp_path):
    early = str(media.write_video(tmp_path / "a.mp4", seconds=8, audio_seconds=3))
    heard = [window.waveform is not None for window in decode_windows(early, GEOMETRY, 2.0, 2.0)]
    assert heard == [True, True, False, False]
    long = str(media.write_video(tmp_path / "b.mp4", seconds=4, audio_seconds=8))
    assert len(list(decode_windows(long, GEOMETRY, 2.0, 2.0))) == 2
    sound = str(media.write_video(tmp_path / "c.mp4", seconds=7, video_codec=None))
    alone = list(decode_windows(sound, GEOMETRY, 2.0, 2.0))
    assert [(window.jpegs, window.waveform.shape) for window in alone] == [(None, (3, 8_000))] * 3


def test_pictures_far_apart_are_held_but_a_hole_of_minutes_is_a_failure(tmp_path):
    def slides(number, height, width):
        return media.numbered_picture(number, height, width)

    slow = media.write_video(tmp_path / "a.mkv", seconds=60, fps=0.1, picture=slides, audio_codec=None)
    windows = list(decode_windows(str(slow), GEOMETRY, 5.0, 5.0, end=50.0))
    assert [set(numbers(window)) for window in windows] == [{0}, {0}, {1}, {1}, {2}, {2}, {3}, {3}, {4}, {4}]
    parted = media.write_parted(tmp_path / "b.mkv", [0.0, 300.0], seconds=10)
    kinds = [type(window) for window in decode_windows(str(parted), GEOMETRY, 10.0, 100.0, start=0.0, end=310.0)]
    assert kinds == [DecodedClip, FailedWindow, FailedWindow, DecodedClip]


class CountingFile(io.FileIO):
    """Counts the bytes that are read."""

    count = 0

    def read(self, size=-1):
        data = super().read(size)
        self.count += len(data)
        return data


def test_the_first_window_comes_before_the_last_is_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr(media_file, "KEPT_BYTES", 1000)
    path = media.write_video(tmp_path / "a.mkv", seconds=60, size=(160, 120))
    size = path.stat().st_size
    with CountingFile(str(path)) as file:
        windows = decode_windows(file, GEOMETRY, 2.0, 2.0)
        next(windows)
        listed = file.count
        assert listed < 1.5 * size  # all was listed, little was decoded
        assert len(list(windows)) == 29
        assert file.count < 2.5 * size  # nothing was read again for every window


def test_memory_does_not_grow_with_the_film(tmp_path):
    """What is held back would be 110 MB of sound alone."""
    resource = pytest.importorskip("resource")
    short, long = (
        str(media.write_video(tmp_path / f"{seconds}.mp4", seconds=seconds, fps=5, sample_rate=16_000))
        for seconds in (60, 600)
    )
    assert sum(1 for _ in decode_windows(short, GEOMETRY, 1.0, 0.5)) == 119
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert sum(1 for _ in decode_windows(long, GEOMETRY, 1.0, 0.5)) == 1199
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 40 * 1024  # KiB

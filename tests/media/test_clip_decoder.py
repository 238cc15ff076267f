"""Decoding: the right picture and the right sound at the right time, from real files in many forms."""

from fractions import Fraction

import av
import numpy as np
import pytest

from pemt_tf.media import media_file
from pemt_tf.media.clip_decoder import decode_clip
from tests import media_files as media
from tests.media.small_clips import GEOMETRY, expected_numbers, numbers, pictures, plain_decode, wanted_moments


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm", ".ts", ".mpg"])
@pytest.mark.parametrize("fps", [25, 30000 / 1001, 8])
def test_pictures_are_those_shown_at_the_wanted_moments(tmp_path, suffix, fps):
    if suffix == ".mpg" and fps == 8:
        pytest.skip("MPEG-2 has no such frame rate")
    path = media.write_video(tmp_path / f"a{suffix}", fps=fps, seconds=3)
    clip = decode_clip(str(path), GEOMETRY)
    frames = plain_decode(path)
    assert len(frames) == round(3 * fps)
    assert clip.start == pytest.approx(frames[0][0], abs=2e-3)
    assert clip.end == pytest.approx(frames[-1][0] + 1 / fps, abs=2e-3)
    assert numbers(clip) == expected_numbers(frames, wanted_moments(clip.start, clip.end))
    by_number = {number: time for time, number in frames}
    np.testing.assert_allclose(clip.image_times, [by_number[number] for number in numbers(clip)], atol=2e-3)
    assert (clip.height, clip.width) == (48, 64)
    assert clip.waveform.shape == (3, 8_000)
    assert clip.notes == ()


B_FRAMES = {"bf": "3", "x264-params": "bframes=3:b-adapt=0"}


def test_avi_with_b_frames_keeps_every_frame_in_order(tmp_path):
    """AVI stores no presentation times; PyAV's `pts` then jumps back and forth."""
    path = media.write_video(tmp_path / "a.avi", video_codec="libx264", seconds=3, options=B_FRAMES)
    with av.open(str(path)) as container:
        stamps = [frame.pts for frame in container.decode(video=0)]
    assert stamps != sorted(stamps), "the file does not show the trap"
    clip = decode_clip(str(path), GEOMETRY)
    assert clip.end - clip.start == pytest.approx(3.0, abs=1e-6)
    moments = np.array(wanted_moments(0.0, 3.0))  # pictures follow each other every 40 ms
    assert numbers(clip) == np.floor(moments * 25 + 1e-6).astype(int).tolist()


def test_part_of_a_file(tmp_path):
    path = media.write_video(tmp_path / "a.mp4", seconds=4)
    clip = decode_clip(str(path), GEOMETRY, start=1.0, end=2.5)
    assert (clip.start, clip.end) == (1.0, 2.5)
    assert numbers(clip) == expected_numbers(plain_decode(path), wanted_moments(1.0, 2.5))


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts", ".avi"])
def test_part_far_into_a_long_file(tmp_path, suffix):
    """Seeks, and must still give what decoding everything gives."""
    path = media.write_video(tmp_path / f"a{suffix}", seconds=40, fps=25, tone=beeps)
    part = decode_clip(str(path), GEOMETRY, start=30.0, end=32.0)
    expected = expected_numbers(plain_decode(path), wanted_moments(30.0, 32.0))
    assert np.abs(np.subtract(numbers(part), expected)).max() <= (2 if suffix == ".avi" else 0)
    assert beep_starts(part)[0] == pytest.approx(31.0, abs=0.03)


def test_long_file_with_gaps_between_segments(tmp_path):
    """40 s with three short segments: most groups of pictures are not decoded, and sound restarts cleanly."""
    path = media.write_video(tmp_path / "a.mov", seconds=40, fps=25, tone=media.sine(440))
    clip = decode_clip(str(path), GEOMETRY)
    assert numbers(clip) == expected_numbers(plain_decode(path), wanted_moments(clip.start, clip.end))
    moments = np.array([0.0, 19.75, 39.5])[:, None] + np.arange(8_000) / 16_000
    wanted = 0.5 * np.sin(2 * np.pi * 440 * moments)
    # After a gap sound may be placed half a sample off: 0.5 * 2 pi * 440 Hz * 31 us = 0.043.
    assert np.abs(clip.waveform - wanted)[:, 100:-100].max() < 0.045


def beeps(seconds):
    """1 kHz for 0.1 s from every odd second on."""
    return np.where((seconds % 2 >= 1) & (seconds % 2 < 1.1), 0.8 * np.sin(2 * np.pi * 1000 * seconds), 0.0)


def flashes(number, height, width):
    """White while it beeps, at 25 pictures a second."""
    moment = number / 25
    return np.full((height, width, 3), 255 if 1 <= moment % 2 < 1.1 else 0, np.uint8)


def beep_starts(clip, rate=16_000):
    """When the sound begins, in seconds, for each segment with a beginning in it."""
    step = (clip.end - clip.start - 0.5) / 2
    found = []
    for segment, samples in enumerate(clip.waveform):
        loud = np.flatnonzero(np.abs(samples) > 0.2)
        if len(loud) and loud[0] > 0:
            found.append(clip.start + segment * step + loud[0] / rate)
    return found


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm", ".ts"])
@pytest.mark.parametrize("audio_start", [0.0, 0.7])
@pytest.mark.parametrize("video_start", [0.0, 0.4])
def test_flash_and_beep_stay_together(tmp_path, suffix, audio_start, video_start):
    path = media.write_video(
        tmp_path / f"a{suffix}",
        seconds=2.0,
        picture=lambda number, height, width: flashes(number + round(25 * video_start), height, width),
        tone=beeps,
        video_start=video_start,
        audio_start=audio_start,
        audio_seconds=2.0,
    )
    # The clip's clock starts with the earlier stream (some containers store the encoder's warm-up as sound).
    zero = video_start - plain_decode(path)[0][0]
    clip = decode_clip(str(path), GEOMETRY, start=0.9 - zero, end=1.4 - zero)
    bright = [time for time, picture in zip(clip.image_times, pictures(clip), strict=True) if picture.mean() > 128]
    dark = [time for time, picture in zip(clip.image_times, pictures(clip), strict=True) if picture.mean() <= 128]
    beep = beep_starts(clip)[0]
    assert min(bright) - beep < 0.1 + 0.01 and beep - max(time for time in dark if time < min(bright)) > -0.01
    assert beep == pytest.approx(1.0 - zero, abs=0.01)


def test_no_sound_and_no_pictures(tmp_path):
    silent = decode_clip(str(media.write_video(tmp_path / "a.mp4", audio_codec=None)), GEOMETRY)
    assert silent.waveform is None and len(silent.jpegs) == 15
    blind = decode_clip(str(media.write_video(tmp_path / "b.mp4", video_codec=None)), GEOMETRY)
    assert blind.jpegs is None and blind.waveform.shape == (3, 8_000)


def test_variable_frame_rate(tmp_path):
    """Ten pictures in the first second, two in the next."""
    path, stamps = tmp_path / "a.mkv", [*(n / 10 for n in range(10)), 1.0, 1.5]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.options = {"preset": "ultrafast", "tune": "zerolatency"}
        stream.codec_context.time_base = Fraction(1, 1000)
        for number, stamp in enumerate(stamps):
            frame = av.VideoFrame.from_ndarray(media.numbered_picture(number, 48, 64), format="rgb24")
            frame.pts, frame.time_base = round(1000 * stamp), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    clip = decode_clip(str(path), GEOMETRY, start=0.0, end=1.6)
    assert clip.end == pytest.approx(1.6, abs=0.11)
    moments = wanted_moments(clip.start, clip.end)
    assert numbers(clip) == expected_numbers(list(zip(stamps, range(12), strict=True)), moments)


def test_file_object(tmp_path):
    path = media.write_video(tmp_path / "a.mp4")
    with path.open("rb") as file:
        clip = decode_clip(file, GEOMETRY)
    assert clip.jpegs == decode_clip(str(path), GEOMETRY).jpegs


@pytest.mark.parametrize("where", [{}, {"start": 30.0, "end": 32.0}])
def test_large_files_are_read_twice_with_the_same_result(tmp_path, monkeypatch, where):
    path = media.write_video(tmp_path / "a.mkv", seconds=40)
    expected = decode_clip(str(path), GEOMETRY, **where)
    monkeypatch.setattr(media_file, "KEPT_BYTES", 1000)
    clip = decode_clip(str(path), GEOMETRY, **where)
    assert clip.jpegs == expected.jpegs and clip.image_times == expected.image_times
    np.testing.assert_array_equal(clip.waveform, expected.waveform)
    with path.open("rb") as file:
        assert decode_clip(file, GEOMETRY, **where).jpegs == expected.jpegs


def test_memory_does_not_grow_with_files(tmp_path):
    resource = pytest.importorskip("resource")
    path = str(media.write_video(tmp_path / "a.mp4", sample_rate=44_100))
    for _ in range(10):
        decode_clip(path, GEOMETRY)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(60):
        decode_clip(path, GEOMETRY)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 4 * 1024  # KiB

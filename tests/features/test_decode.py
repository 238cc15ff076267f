"""Decoding: the right picture and the right sound at the right time, from real files in many forms."""

from fractions import Fraction

import av
import numpy as np
import pytest
import simplejpeg

from pemt_tf.config import ClipGeometry
from pemt_tf.features import media_file
from pemt_tf.features.decode import MediaError, decode_clip
from pemt_tf.features.pictures import FrameClock
from tests import media

GEOMETRY = ClipGeometry(
    segments=3,
    frames_per_segment=5,
    frame_rate=10,
    stored_short_side=48,
    train_crop=40,
    train_scale=(40, 48),
    test_crop=40,
    sample_rate=16_000,
    samples_per_segment=8_000,
)


def pictures(clip):
    return [simplejpeg.decode_jpeg(jpeg) for jpeg in clip.jpegs]


def numbers(clip):
    return [media.read_number(picture) for picture in pictures(clip)]


def plain_decode(path):
    """Timestamps (seconds from the container's start) and numbers of all pictures, by PyAV alone."""
    with av.open(str(path)) as container:
        base = (container.start_time or 0) / 1e6
        frames = [
            (frame.time - base, media.read_number(frame.to_ndarray(format="rgb24")))
            for frame in container.decode(video=0)
        ]
    return sorted(frames)


def wanted_moments(start, end):
    """The uniform plan, restated: 3 segments of 0.5 s, 5 frames 0.1 s apart."""
    step = (end - start - 0.5) / 2
    return [start + segment * step + frame / 10 for segment in range(3) for frame in range(5)]


def expected_numbers(frames, moments):
    return [max([frame for frame in frames if frame[0] <= moment + 1e-3], default=frames[0])[1] for moment in moments]


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


@pytest.mark.parametrize(("rate", "layout"), [(8_000, "mono"), (16_000, "stereo"), (44_100, "5.1"), (96_000, "stereo")])
def test_tone_is_resampled_in_place(tmp_path, rate, layout):
    """Against the formula of the tone: amplitude, frequency and phase."""
    path = media.write_video(tmp_path / "a.mov", tone=media.sine(440, 0.5), sample_rate=rate, layout=layout, seconds=2)
    clip = decode_clip(str(path), GEOMETRY)
    moments = np.array([0.0, 0.75, 1.5])[:, None] + np.arange(8_000) / 16_000
    expected = 0.5 * np.sin(2 * np.pi * 440 * moments)
    assert np.abs(clip.waveform - expected)[:, 100:-100].max() < 0.01


def test_channels_are_averaged(tmp_path):
    path = tmp_path / "a.mov"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=16_000, layout="stereo")
        samples = np.stack([np.full(16_000, 0.5, np.float32), np.full(16_000, -0.25, np.float32)])
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="stereo")
        frame.sample_rate, frame.pts = 16_000, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    clip = decode_clip(str(path), GEOMETRY)
    np.testing.assert_allclose(clip.waveform, 0.125, atol=1e-4)
    assert clip.jpegs is None and clip.image_times == [] and (clip.height, clip.width) == (0, 0)


def test_gap_in_the_sound_stays_a_gap(tmp_path):
    """Half a second of silence that exists only in the timestamps."""
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=16_000, layout="mono")
        for second, start in ((0, 0), (1, 16_000), (2, 40_000)):  # the third one starts at 2.5 s
            for position in range(0, 16_000, 1_000):
                samples = np.full((1, 1_000), 0.25 * (second + 1), np.float32)
                frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
                frame.sample_rate, frame.time_base, frame.pts = 16_000, Fraction(1, 16_000), start + position
                container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    clip = decode_clip(str(path), GEOMETRY, start=1.75, end=2.75)
    first, last = clip.waveform[0], clip.waveform[2]  # 1.75 to 2.25 s and 2.25 to 2.75 s
    np.testing.assert_allclose(first[:3_900], 0.5, atol=1e-3)
    np.testing.assert_allclose(first[4_100:], 0.0, atol=1e-3)
    np.testing.assert_allclose(last[:3_900], 0.0, atol=1e-3)
    np.testing.assert_allclose(last[4_100:], 0.75, atol=1e-3)
    assert any("audio covers" in note for note in clip.notes)


def test_short_sound_is_zeros_and_a_note(tmp_path):
    path = media.write_video(tmp_path / "a.mp4", seconds=4, audio_seconds=2)
    clip = decode_clip(str(path), GEOMETRY)
    assert np.abs(clip.waveform[0]).max() > 0.4
    assert np.abs(clip.waveform[2]).max() == 0.0  # 3.5 to 4 s
    # Sound during 0-0.5 and 1.75-2 of the segments 0-0.5, 1.75-2.25, 3.5-4: half of 1.5 s (AAC may end a block later).
    percent = int(next(note for note in clip.notes if "audio covers" in note).split()[2])
    assert 49 <= percent <= 53


def test_no_sound_and_no_pictures(tmp_path):
    silent = decode_clip(str(media.write_video(tmp_path / "a.mp4", audio_codec=None)), GEOMETRY)
    assert silent.waveform is None and len(silent.jpegs) == 15
    blind = decode_clip(str(media.write_video(tmp_path / "b.mp4", video_codec=None)), GEOMETRY)
    assert blind.jpegs is None and blind.waveform.shape == (3, 8_000)


def test_cover_art_is_not_video(tmp_path):
    path = media.write_video(tmp_path / "a.mp4")
    with av.open(str(path)) as source, av.open(str(tmp_path / "b.mp4"), "w") as target:
        sound = target.add_stream_from_template(source.streams.audio[0])
        cover = target.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 48, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        for packet in source.demux(source.streams.audio[0]):
            if packet.dts is not None:
                packet.stream = sound
                target.mux(packet)
        target.mux(cover.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")))
        target.mux(cover.encode(None))
    with av.open(str(tmp_path / "b.mp4")) as made:
        assert len(made.streams.video) == 1, "the file does not show the trap"
    assert decode_clip(str(tmp_path / "b.mp4"), GEOMETRY).jpegs is None


# Four corners; each is told from the others by colour.
CORNERS = np.array([[[250, 0, 0], [0, 250, 0]], [[0, 0, 250], [250, 250, 250]]], np.uint8)


def corners(number, height, width):
    return CORNERS.repeat(height // 2, axis=0).repeat(width // 2, axis=1)


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        ((1, 0, 0, 1), lambda p: p),
        ((0, 1, -1, 0), lambda p: np.rot90(p, -1)),  # a phone held upright: clockwise
        ((-1, 0, 0, -1), lambda p: np.rot90(p, 2)),
        ((0, -1, 1, 0), lambda p: np.rot90(p, 1)),
        ((-1, 0, 0, 1), np.fliplr),  # a mirrored selfie
        ((1, 0, 0, -1), np.flipud),
        ((0, 1, 1, 0), lambda p: p.transpose(1, 0, 2)),
    ],
)
def test_display_matrix_is_applied(tmp_path, matrix, expected):
    path = media.turn(media.write_video(tmp_path / "a.mp4", size=(128, 64), picture=corners), matrix)
    clip = decode_clip(str(path), GEOMETRY)
    assert (clip.height, clip.width) == ((96, 48) if matrix[0] == 0 else (48, 96))
    picture = pictures(clip)[0]
    assert picture.shape == (clip.height, clip.width, 3)
    rows, columns = [clip.height // 4, 3 * clip.height // 4], [clip.width // 4, 3 * clip.width // 4]
    np.testing.assert_allclose(picture[np.ix_(rows, columns)], expected(CORNERS).astype(int), atol=25)


def test_sample_aspect_ratio_makes_square_pixels(tmp_path):
    path = media.write_video(tmp_path / "a.mp4", size=(64, 48), aspect=Fraction(2, 1))
    clip = decode_clip(str(path), GEOMETRY)
    assert (clip.height, clip.width) == (48, 128)
    tall = media.write_video(tmp_path / "b.mp4", size=(64, 48), aspect=Fraction(1, 2))
    clip = decode_clip(str(tall), GEOMETRY)
    assert (clip.height, clip.width) == (72, 48)


def yuv_to_rgb(y, u, v, full_range, red, blue):
    """The textbook formula; red and blue are the luma weights of the standard."""
    y, u, v = (y, u - 128, v - 128) if full_range else ((y - 16) * 255 / 219, *((c - 128) * 255 / 224 for c in (u, v)))
    return [
        y + 2 * (1 - red) * v,
        y - 2 * (blue * (1 - blue) * u + red * (1 - red) * v) / (1 - red - blue),
        y + 2 * (1 - blue) * u,
    ]


@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize(
    ("space", "size", "weights"),
    [
        (1, (64, 48), (0.2126, 0.0722)),  # tagged BT.709
        (6, (64, 48), (0.299, 0.114)),  # tagged SMPTE 170M
        (2, (64, 48), (0.299, 0.114)),  # untagged and small: BT.601
        (2, (1280, 720), (0.2126, 0.0722)),  # untagged and high definition: BT.709
    ],
)
def test_colours(tmp_path, space, size, weights, full_range):
    """Coded YUV values of four patches, against the textbook formula of the standard that applies."""
    patches = np.array([[90, 110, 200], [150, 180, 100], [60, 140, 120], [200, 120, 128]], np.uint8)
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.options = {"preset": "ultrafast", "crf": "1"}
        stream.codec_context.colorspace = space
        stream.codec_context.color_range = 2 if full_range else 1
        planes = [np.repeat(patches[:, c], size[0] // 4)[None].repeat(size[1], 0) for c in range(3)]
        stacked = [planes[0], *(plane[::2, ::2].reshape(-1, size[0]) for plane in planes[1:])]
        for number in range(6):
            frame = av.VideoFrame.from_ndarray(np.concatenate(stacked), format="yuv420p")
            frame.colorspace, frame.color_range = space, 2 if full_range else 1
            frame.pts, frame.time_base = number, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    picture = pictures(decode_clip(str(path), GEOMETRY))[0]
    found = picture[24, [picture.shape[1] * (2 * patch + 1) // 8 for patch in range(4)]]
    expected = np.array([yuv_to_rgb(*patch.astype(float), full_range, *weights) for patch in patches])
    np.testing.assert_allclose(found, np.clip(expected, 0, 255), atol=6)


def test_ten_bit_pictures(tmp_path):
    path = media.write_video(tmp_path / "a.mkv", pixel_format="yuv420p10le", seconds=2)
    assert numbers(decode_clip(str(path), GEOMETRY)) == expected_numbers(plain_decode(path), wanted_moments(0.0, 2.0))


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


def test_damage_in_the_middle_keeps_the_rest(tmp_path):
    path = media.write_video(tmp_path / "a.ts", seconds=4, fps=25)
    whole = decode_clip(str(path), GEOMETRY)
    clip = decode_clip(str(media.damage(path, 0.40, 0.45)), GEOMETRY)
    assert clip.notes != ()
    assert clip.jpegs[0] == whole.jpegs[0]  # what was stored before the damage
    assert numbers(clip)[-5:] == numbers(whole)[-5:]  # and after it


def test_memory_does_not_grow_with_files(tmp_path):
    resource = pytest.importorskip("resource")
    path = str(media.write_video(tmp_path / "a.mp4", sample_rate=44_100))
    for _ in range(10):
        decode_clip(path, GEOMETRY)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(60):
        decode_clip(path, GEOMETRY)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 4 * 1024  # KiB


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


def test_clock_of_frames_follows_the_best_effort_rule():
    """The stamps that FFmpeg reports for real AVI files, and simple files."""
    nan = float("nan")
    for presented in ([1, 2, 4, 3, 5, 7, 6], [1, 4, 3, 5, 2, 8, 7]):
        avi = FrameClock(1.0, first_dts=0.0)
        stamps = zip(presented, range(2, 9), strict=True)
        assert [avi.time(float(pts), float(dts)) for pts, dts in stamps] == [0, 1, 2, 3, 4, 5, 6]
    good = FrameClock(1.0)
    assert [good.time(float(n), float(n + 2)) for n in range(4)] == [0, 1, 2, 3]
    bare = FrameClock(0.5)
    assert [bare.time(nan, nan) for _ in range(3)] == [0.0, 0.5, 1.0]
    no_pts = FrameClock(0.5)
    assert [no_pts.time(nan, float(n)) for n in range(3)] == [0, 1, 2]

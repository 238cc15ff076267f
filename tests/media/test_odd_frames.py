"""Pictures that need a treatment of their own: interlaced, transparent, high dynamic range, changing size."""

from fractions import Fraction

import av
import numpy as np
import pytest

from pemt_tf.media.clip_decoder import decode_clip
from pemt_tf.media.media_file import MediaFile
from tests import media_files as media
from tests.media.small_clips import GEOMETRY, expected_numbers, numbers, pictures, plain_decode, wanted_moments


def test_interlaced_pictures_show_one_moment(tmp_path):
    """The lines of two moments are woven; a mixture of both would be gray."""
    frames = []
    for number in range(20):
        woven = media.numbered_picture(number, 96, 128)
        woven[1::2] = media.numbered_picture(4095 - number, 96, 128)[1::2]
        frames.append(av.VideoFrame.from_ndarray(woven, format="rgb24").reformat(format="yuv420p"))
    params = {"x264-params": "tff=1", "crf": "1", "preset": "veryfast"}
    path = media.write_frames(tmp_path / "a.mp4", frames, "libx264", **params)
    with av.open(str(path)) as container:
        assert next(container.decode(video=0)).interlaced_frame, "the file does not show the trap"
    clip = decode_clip(str(path), GEOMETRY)
    assert numbers(clip) == [int(10 * moment + 1e-6) for moment in wanted_moments(0.0, 2.0)]
    flat = np.stack(pictures(clip))[..., 1].astype(int)
    assert np.minimum(np.abs(flat - 10), np.abs(flat - 245)).mean() < 8


@pytest.mark.parametrize(("codec", "pixel_format", "suffix"), [("qtrle", "argb", ".mov"), ("png", "rgba", ".mov")])
def test_transparent_pictures_lie_on_black(tmp_path, codec, pixel_format, suffix):
    """Three patches of the same colour: clear, half and opaque."""
    rgba = np.empty((48, 96, 4), np.uint8)
    rgba[..., :3] = (200, 120, 60)
    rgba[..., 3] = np.repeat([0, 128, 255], 32)[None]
    frames = [av.VideoFrame.from_ndarray(rgba, format="rgba").reformat(format=pixel_format) for _ in range(10)]
    clip = decode_clip(str(media.write_frames(tmp_path / f"a{suffix}", frames, codec)), GEOMETRY)
    picture = pictures(clip)[0]
    found = picture[24, [clip.width * (2 * patch + 1) // 6 for patch in range(3)]]
    np.testing.assert_allclose(found, [[0, 0, 0], [100, 60, 30], [200, 120, 60]], atol=5)


def perceptual_quantizer(light):
    """ITU-R BT.2100: cd/m2 to a code of 0 to 1."""
    power = (light / 10_000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375


def light_of(code):
    """The inverse."""
    root = code ** (1 / 78.84375)
    return 10_000 * (max(root - 0.8359375, 0.0) / (18.8515625 - 18.6875 * root)) ** (1 / 0.1593017578125)


def rolled_off(light):
    """Report ITU-R BT.2390, section 5.4.1: 1000 cd/m2 to 203 cd/m2."""
    top = perceptual_quantizer(1000.0)
    e, largest = perceptual_quantizer(min(light, 1000.0)) / top, perceptual_quantizer(203.0) / top
    knee = 1.5 * largest - 0.5
    if e > knee:
        t = (e - knee) / (1 - knee)
        e = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (3 * t**2 - 2 * t**3) * largest
    return light_of(e * top)


def shown(light):
    """What a BT.709 picture (0 to 255) should hold for light of BT.2020 primaries, cd/m2."""
    brightest = max(*light, 1e-9)
    mapped = np.array(light) * rolled_off(brightest) / brightest / 203
    matrix = [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]]
    return 255 * np.clip(np.array(matrix) @ mapped, 0, 1) ** (1 / 2.4)


def hlg(scene):
    """ITU-R BT.2100: light of the scene, 0 to 1, to a code of 0 to 1."""
    return np.sqrt(3 * scene) if scene <= 1 / 12 else 0.17883277 * np.log(12 * scene - 0.28466892) + 0.55991073


def ten_bit_patches(codes, full_range):
    """Patches side by side, [r, g, b] codes of 0 to 1, as limited or full-range BT.2020 YUV."""
    weights = np.array([0.2627, 0.6780, 0.0593])
    planes = ([], [], [])
    for rgb in np.asarray(codes):
        luma = weights @ rgb
        blue, red = (rgb[2] - luma) / 1.8814, (rgb[0] - luma) / 1.4746
        scale = [(1023, 0), (1023, 512), (1023, 512)] if full_range else [(876, 64), (896, 512), (896, 512)]
        for plane, value, (factor, zero) in zip(planes, (luma, blue, red), scale, strict=True):
            plane.append(round(value * factor + zero))
    height, width = 64, 64 * len(codes)
    frame = av.VideoFrame(width, height, "yuv420p10le")
    for plane, values in zip(frame.planes, planes, strict=True):
        rows = np.zeros((plane.height, plane.line_size // 2), np.uint16)
        rows[:, : plane.width] = np.repeat(np.array(values, np.uint16), plane.width // len(codes))
        plane.update(rows.tobytes())
    frame.colorspace, frame.color_primaries, frame.color_range = 9, 9, 2 if full_range else 1
    return frame


def first_patches(path, frame, transfer, count):
    frames = []
    for _ in range(10):
        copy = frame.reformat(format="yuv420p10le")
        copy.color_trc = transfer
        frames.append(copy)
    media.write_frames(path, frames, "libx264", crf="1")
    with av.open(str(path)) as container:
        assert next(container.decode(video=0)).color_trc == transfer, "the file does not show the trap"
    clip = decode_clip(str(path), GEOMETRY)
    return pictures(clip)[0][clip.height // 2, [clip.width * (2 * patch + 1) // (2 * count) for patch in range(count)]]


@pytest.mark.parametrize("full_range", [False, True])
def test_perceptual_quantizer_is_tone_mapped(tmp_path, full_range):
    light = [(0, 0, 0), (5, 5, 5), (50, 50, 50), (203, 203, 203), (1000, 1000, 1000), (60, 20, 20), (30, 150, 60)]
    codes = [[perceptual_quantizer(value) for value in patch] for patch in light]
    found = first_patches(tmp_path / "a.mp4", ten_bit_patches(codes, full_range), 16, len(light))
    np.testing.assert_allclose(found, [shown(patch) for patch in light], atol=6)
    np.testing.assert_allclose(found[[0, 3, 4], 1], [0, 0.90 * 255, 255], atol=4)  # black, white paper, highlights


def test_hybrid_log_gamma_is_tone_mapped(tmp_path):
    """BT.2100 with the display of 1000 cd/m2: light = 1000 x luminance^0.2 x scene."""
    scenes = [(0, 0, 0), (0.02, 0.02, 0.02), (0.2, 0.2, 0.2), (1, 1, 1), (0.1, 0.02, 0.02), (0.02, 0.1, 0.05)]
    codes = [[hlg(value) for value in patch] for patch in scenes]
    codes.append([0.75] * 3)  # BT.2408: 75 % of the range is white paper, 203 cd/m2
    found = first_patches(tmp_path / "a.mp4", ten_bit_patches(codes, False), 18, len(codes))
    luminance = [np.dot([0.2627, 0.6780, 0.0593], patch) for patch in scenes]
    light = [1000 * y**0.2 * np.array(patch) for y, patch in zip(luminance, scenes, strict=True)]
    np.testing.assert_allclose(found, [*(shown(patch) for patch in light), shown((203, 203, 203))], atol=6)


def test_size_that_changes_on_the_way(tmp_path):
    """Pictures of another shape are fitted into the size of the first, with black beside them."""
    options = {"audio_codec": None, "fps": 25, "seconds": 2.0}
    wide = media.write_video(tmp_path / "a.ts", size=(128, 64), **options)
    high = media.write_video(tmp_path / "b.ts", size=(96, 96), video_start=2.0, **options)
    both = tmp_path / "both.ts"
    both.write_bytes(wide.read_bytes() + high.read_bytes())
    with av.open(str(both)) as container:
        sizes = {(frame.width, frame.height) for frame in container.decode(video=0)}
    assert sizes == {(128, 64), (96, 96)}, "the file does not show the trap"
    clip = decode_clip(str(both), GEOMETRY)
    assert (clip.height, clip.width) == (48, 96)
    last = pictures(clip)[-1]
    assert last[:, :20].max() < 20 and last[:, -20:].max() < 20
    moments = wanted_moments(clip.start, clip.end)
    assert media.read_number(last[:, 24:72]) == int((moments[-1] - 2.0) * 25 + 0.05)
    assert media.read_number(pictures(clip)[4]) == int(moments[4] * 25 + 0.05)


def test_edit_list(tmp_path):
    """Of 4 s, one second from 1.6 s on is shown; decoding must begin at a keyframe before it."""
    path = media.write_video(tmp_path / "a.mp4", seconds=4, audio_codec=None, key_every=25)
    media.edit(path, 1.6, 1.0)
    clip = decode_clip(str(path), GEOMETRY)
    assert (clip.start, clip.end) == pytest.approx((0.0, 1.0), abs=0.05)
    frames = plain_decode(path)
    assert min(number for _, number in frames) == 40
    assert numbers(clip) == expected_numbers(frames, wanted_moments(clip.start, clip.end))
    assert numbers(clip)[0] == 40


@pytest.mark.parametrize(
    ("suffix", "options"),
    [(".mkv", {"live": "1"}), (".webm", {"live": "1"}), (".mp4", {"movflags": "frag_keyframe+empty_moov"})],
)
def test_no_duration_in_the_header(tmp_path, suffix, options):
    path = media.write_video(tmp_path / f"a{suffix}", seconds=4, container_options=options)
    if suffix != ".mp4":
        with av.open(str(path)) as container:
            assert container.duration is None, "the file does not show the trap"
    clip = decode_clip(str(path), GEOMETRY)
    frames = plain_decode(path)
    assert clip.end == pytest.approx(frames[-1][0] + 0.04, abs=0.01)
    assert clip.source.duration == pytest.approx(4.0, abs=0.1)
    assert numbers(clip) == expected_numbers(frames, wanted_moments(clip.start, clip.end))


def test_source_is_described(tmp_path):
    path = media.write_video(
        tmp_path / "a.mp4", fps=30000 / 1001, size=(128, 64), sample_rate=22_050, layout="stereo", aspect=Fraction(2, 1)
    )
    source = decode_clip(str(media.turn(path, (0, 1, -1, 0))), GEOMETRY).source
    assert (source.width, source.height) == (64, 256)
    assert source.frame_rate == pytest.approx(29.97, abs=0.01)
    assert (source.video_codec, source.audio_codec) == ("h264", "aac")
    assert (source.sample_rate, source.channels) == (22_050, 2)
    assert source.duration == pytest.approx(2.0, abs=0.1)
    part = decode_clip(str(path), GEOMETRY, start=0.5, end=1.0).source
    assert part.duration == pytest.approx(2.0, abs=0.1)
    mute = decode_clip(str(media.write_video(tmp_path / "b.mkv", audio_codec=None)), GEOMETRY).source
    assert (mute.audio_codec, mute.sample_rate, mute.channels) == ("", 0, 0)


def test_a_packet_without_data_shows_the_picture_before_on(tmp_path, monkeypatch):
    """Theora says so of pictures in which nothing moves; FFmpeg's decoders call such a packet invalid."""
    path = media.write_video(
        tmp_path / "a.mov", video_codec="mjpeg", audio_codec=None, seconds=2, pixel_format="yuvj420p"
    )
    read = MediaFile._read

    def with_empty_packets(self):
        for number, packet in enumerate(read(self)):
            if number % 3:
                full, packet = packet, av.Packet(0)
                packet.stream, packet.time_base = full.stream, full.time_base
                packet.pts, packet.dts = full.pts, full.dts
            yield packet

    monkeypatch.setattr(MediaFile, "_read", with_empty_packets)
    clip = decode_clip(str(path), GEOMETRY)
    assert clip.notes == ()
    shown = expected_numbers([(number / 25, number) for number in range(50)], wanted_moments(0.0, 2.0))
    assert numbers(clip) == [number // 3 * 3 for number in shown]

"""Pictures: upright, of square pixels, in the right colours, at the right time."""

from fractions import Fraction

import av
import numpy as np
import pytest

from pemt_tf.media.clip_decoder import decode_clip
from pemt_tf.media.frames import FrameClock
from tests import media_files as media
from tests.media.small_clips import GEOMETRY, expected_numbers, numbers, pictures, plain_decode, wanted_moments

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

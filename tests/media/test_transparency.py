"""Transparent pictures lie on black, and nothing of what is hidden in them shows, at edges neither."""

from fractions import Fraction

import av
import numpy as np
import pytest

from pemt_tf.media.clip_decoder import decode_clip, decode_windows
from pemt_tf.media.frame_scaling import FrameScaler
from tests import media_files as media
from tests.media.small_clips import GEOMETRY, pictures

COLOR = (200, 120, 60)
HIDDEN = (255, 255, 255)  # under what is clear


def patches(height=48, width=96):
    """Clear over white, half clear, opaque: [height, width, 4] uint8."""
    rgba = np.empty((height, width, 4), np.uint8)
    rgba[..., :3] = COLOR
    rgba[:, : width // 3, :3] = HIDDEN
    rgba[..., 3] = np.repeat([0, 128, 255], width // 3)[None]
    return rgba


def write(path, codec, pixel_format, rgba=None, **options):
    rgba = patches() if rgba is None else rgba
    frames = [av.VideoFrame.from_ndarray(rgba, format="rgba").reformat(format=pixel_format) for _ in range(20)]
    return media.write_frames(path, frames, codec, **options)


def found(clip):
    picture = pictures(clip)[7]
    return picture[24, [clip.width * (2 * patch + 1) // 6 for patch in range(3)]]


CODECS = [
    ("a.webm", "libvpx-vp9", "yuva420p", {"auto-alt-ref": "0"}),
    ("a.mkv", "libvpx-vp9", "yuva420p", {"auto-alt-ref": "0"}),
    ("a.webm", "libvpx", "yuva420p", {"auto-alt-ref": "0", "b:v": "2M"}),
    ("a.mov", "prores_ks", "yuva444p10le", {"profile": "4444"}),
    ("a.mov", "qtrle", "argb", {}),
    ("a.mov", "png", "rgba", {}),
    ("a.mov", "png", "rgba64be", {}),
    ("a.mov", "png", "ya8", {}),
    ("a.apng", "apng", "rgba", {}),
    ("a.mkv", "ffv1", "yuva420p", {}),
    ("a.mkv", "ffv1", "yuva444p16le", {}),
    ("a.mkv", "ffv1", "bgra", {}),
    ("a.nut", "rawvideo", "bgra", {}),
    ("a.avi", "utvideo", "gbrap", {}),
]


@pytest.mark.parametrize(("name", "codec", "pixel_format", "options"), CODECS)
def test_clear_half_and_opaque(tmp_path, name, codec, pixel_format, options):
    clip = decode_clip(str(write(tmp_path / name, codec, pixel_format, **options)), GEOMETRY)
    color = np.array(COLOR)
    if pixel_format == "ya8":
        color[:] = np.dot([0.299, 0.587, 0.114], color)
    np.testing.assert_allclose(found(clip), [[0, 0, 0], color / 2, color], atol=8)


@pytest.mark.parametrize("codec", ["libvpx-vp9", "libvpx"])
def test_windows_of_vp8_and_vp9(tmp_path, codec):
    """Between windows the decoder is emptied, and begins anew at a keyframe."""
    path = write(tmp_path / "a.webm", codec, "yuva420p", g="5", **{"auto-alt-ref": "0"})
    made = list(decode_windows(str(path), GEOMETRY, seconds=0.5, stride=0.5))
    assert len(made) == 4
    for clip in [*made, decode_clip(str(path), GEOMETRY, start=1.0)]:
        np.testing.assert_allclose(found(clip), [[0, 0, 0], np.array(COLOR) / 2, COLOR], atol=8)
    assert made[0].source.video_codec == codec.replace("libvpx-", "").replace("libvpx", "vp8")


def test_without_libvpx_a_note_says_so(tmp_path, monkeypatch):
    path = write(tmp_path / "a.webm", "libvpx-vp9", "yuva420p", **{"auto-alt-ref": "0"})
    monkeypatch.setattr(av, "codecs_available", av.codecs_available - {"libvpx-vp9"})
    clip = decode_clip(str(path), GEOMETRY)
    assert clip.notes == ("transparent parts show their hidden colours: this FFmpeg has no libvpx",)


def test_opaque_vp9_stays_with_its_decoder(tmp_path):
    path = media.write_video(tmp_path / "a.webm", audio_codec=None)
    with av.open(str(path)) as container:
        assert "alpha_mode" not in container.streams.video[0].metadata
    assert decode_clip(str(path), GEOMETRY).source.video_codec == "vp9"


def test_gif(tmp_path):
    """One colour of the palette is clear; what FFmpeg's own decoding says of it is the trap."""
    rgba = patches()
    rgba[..., 3] = np.where(rgba[..., 3] < 200, 0, 255)
    frame = av.VideoFrame.from_ndarray(rgba, format="rgba")
    graph = av.filter.Graph()
    source = graph.add_buffer(width=96, height=48, format=frame.format, time_base=Fraction(1, 10))
    split, palette, use = graph.add("split"), graph.add("palettegen"), graph.add("paletteuse")
    source.link_to(split)
    split.link_to(use, 0, 0), split.link_to(palette, 1, 0), palette.link_to(use, 0, 1)
    use.link_to(graph.add("buffersink"))
    graph.configure()
    frame.pts, frame.time_base = 0, Fraction(1, 10)
    graph.push(frame)
    graph.push(None)
    image = graph.pull()
    frames = [image.reformat(format="pal8") for _ in range(20)]
    clip = decode_clip(str(media.write_frames(tmp_path / "a.gif", frames, "gif")), GEOMETRY)
    np.testing.assert_allclose(found(clip), [[0, 0, 0], [0, 0, 0], COLOR], atol=8)


def test_hidden_colours_do_not_leak_out_at_edges():
    """A fine pattern, half of it clear over white: scaled down it is half of the colour, without any white."""
    rgba = np.empty((96, 192, 4), np.uint8)
    rgba[..., :3], rgba[..., 3] = COLOR, 255
    rgba[::2, ::2] = rgba[1::2, 1::2] = (*HIDDEN, 0)
    frame = av.VideoFrame.from_ndarray(rgba, format="rgba")
    planes = FrameScaler().planes(frame, 1.0, 24, 48)
    luma = 0.5 * np.dot([0.299, 0.587, 0.114], COLOR)
    np.testing.assert_allclose(planes[0], luma, atol=2)


def test_transparent_high_dynamic_range():
    """ProRes 4444 with PQ: what is clear is black, and what is opaque is as without transparency."""
    frame = av.VideoFrame.from_ndarray(patches(), format="rgba").reformat(format="yuva444p10le")
    opaque = frame.reformat(format="yuv444p10le")
    for one in (frame, opaque):
        one.color_trc, one.color_primaries, one.colorspace = 16, 9, 9
    shown, plain = (FrameScaler().planes(one, 1.0, 48, 96)[0] for one in (frame, opaque))
    assert shown[:, :30].max() <= 1 and plain[:, :30].min() > 100
    np.testing.assert_allclose(shown[:, 66:].astype(int), plain[:, 66:], atol=2)

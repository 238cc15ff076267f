"""The small pictures of clips, how many there is room for, and where the media files are."""

from __future__ import annotations

import os

import numpy as np
import pytest
import simplejpeg

from pemt_tf.data.clip_source import ClipSource
from pemt_tf.explore.media_address import media_address, media_file
from pemt_tf.explore.pictures import PictureSources, chosen_places, clip_picture, make_pictures
from pemt_tf.report.contents import ClipView


def flat(colour, height=20, width=30) -> bytes:
    return simplejpeg.encode_jpeg(np.full((height, width, 3), colour, np.uint8), quality=95)


def test_frames_in_order_above_the_spectrogram():
    colours = [(250, 0, 0), (0, 250, 0), (0, 0, 250), (250, 250, 0)]
    log_mel = np.zeros((2, 8, 10), np.float32)
    log_mel[0, :4] = 10  # low tones of the first half are loud
    view = ClipView(
        "a", frames=((flat(colours[0]), flat(colours[1])), (flat(colours[2]), flat(colours[3]))), log_mel=log_mel
    )
    pixels = simplejpeg.decode_jpeg(clip_picture(view)).astype(int)
    assert pixels.shape == (56 + 32, 4 * 56, 3)
    for place, colour in enumerate(colours):
        assert np.abs(pixels[28, place * 56 + 28] - colour).max() < 30
    brightness = pixels[56:].sum(-1)
    quarters = brightness[:16, :100].mean(), brightness[20:, :100].mean(), brightness[20:, 125:].mean()
    assert quarters[1] > quarters[0] + 200 and quarters[1] > quarters[2] + 200


def test_one_stream_and_none():
    assert simplejpeg.decode_jpeg(clip_picture(ClipView("a", frames=((flat((9, 9, 9)),),)))).shape == (56, 224, 3)
    assert simplejpeg.decode_jpeg(clip_picture(ClipView("a", log_mel=np.zeros((1, 4, 5))))).shape == (32, 224, 3)
    assert clip_picture(ClipView("a")) is None


def test_places_within_the_budget():
    assert chosen_places(100, 10_000_000) == list(range(100))
    few = chosen_places(10_000, 1_000_000)
    assert len(few) == len(set(few)) == 187  # a megabyte over 4,000 bytes in base64
    assert np.mean(few) == pytest.approx(5000, abs=800)
    assert chosen_places(10, 0) == []


def test_budget_is_kept_even_by_large_pictures(monkeypatch):
    from pemt_tf.explore import pictures

    monkeypatch.setattr(pictures, "_from_media", lambda sources, place: b"x" * 300 if place != 2 else None)
    made = make_pictures([f"c{i}" for i in range(6)], [4, 2, 0, 5], PictureSources(None), budget=900)
    assert list(made) == [0, 4]  # 400 bytes each in base64; of 5 there is no room, and 2 cannot be read


def test_from_records(clip_source, small_config):
    sources = PictureSources(small_config.geometry, clip_source)
    ids = [f"fake-{number:06d}" for number in range(12)] + ["of another data set"]
    done = []
    made = make_pictures(ids, range(13), sources, 10**6, done.append)
    assert list(made) == [0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11]  # 7 has neither pictures nor sound
    shapes = {place: simplejpeg.decode_jpeg(jpeg).shape[0] for place, jpeg in made.items()}
    assert shapes[5] == 32 and shapes[6] == 56 and shapes[0] == 88
    assert done[-1] == 12


def test_damaged_records_cost_pictures_not_the_page(tmp_path, small_config):
    (tmp_path / "broken.tfrecord").write_bytes(b"this is no record file at all")
    files = {"train": (str(tmp_path / "broken.tfrecord"),)}
    sources = PictureSources(small_config.geometry, ClipSource(files, small_config.geometry, (), "records"))
    assert make_pictures(["a"], [0], sources, 10**6) == {}


def test_addresses(tmp_path):
    (tmp_path / "my videos #1").mkdir()
    page = tmp_path / "page.html"
    assert media_address(str(tmp_path / "my videos #1"), page) == "./my%20videos%20%231/"
    assert media_address(str(tmp_path), page) == "./"
    elsewhere = media_address(str(tmp_path / "my videos #1"), tmp_path / "pages" / "page.html")
    assert elsewhere == f"file://{tmp_path.as_posix()}/my%20videos%20%231/"
    odd = tmp_path / os.fsdecode(b"vid\xe9os")
    odd.mkdir()
    assert media_address(str(odd), page) == "./vid%E9os/"
    assert media_address(str(odd), tmp_path / "pages" / "page.html") == f"file://{tmp_path.as_posix()}/vid%E9os/"
    assert media_address("", page) == media_address("gs://bucket/videos", page) == ""


def test_media_files(tmp_path):
    file = tmp_path / "a.mp4"
    file.touch()
    assert media_file(str(tmp_path), "a.mp4") == file
    odd = tmp_path / os.fsdecode(b"caf\xe9.mp4")
    odd.touch()
    assert media_file(str(tmp_path), r"caf\xe9.mp4") == odd
    assert media_file("", str(file)) == media_file("/nowhere", str(file)) == file
    for root, path in ((str(tmp_path), "b.mp4"), ("", "a.mp4"), ("gs://b", "a.mp4"), (str(tmp_path), "gs://b/a.mp4")):
        assert media_file(root, path) is None

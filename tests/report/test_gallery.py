"""The gallery as a whole: well formed, self-contained, escaped; plain rows where there is nothing to see."""

from __future__ import annotations

import re

import numpy as np
import pytest

from pemt_tf.config import ClipGeometry
from pemt_tf.data.records import get_fake_clip
from pemt_tf.errors import PemtError
from pemt_tf.report.clip_views import view_of_file, view_of_record, views_of_records
from pemt_tf.report.gallery import Gallery, GalleryClip, gallery_page, write_gallery
from tests import media_files as media
from tests.fake_dataset import WITHOUT_AUDIO, WITHOUT_VIDEO, fake_clips, write_dataset
from tests.report.test_report_page import Page

HOSTILE = "<script>alert(1)</script>\"'&amp;<img src=x onerror=alert(2)>"


@pytest.fixture
def geometry(small_config) -> ClipGeometry:
    return small_config.geometry


def hit(clip_view, number: int, **changes) -> GalleryClip:
    values = {"view": clip_view(number), "label": "dog", "similarity": 0.5 + number / 10, "start": 1.0, "end": 2.5}
    return GalleryClip(f"clip-{number}", f"dog/{number}.mp4", **{**values, **changes})


def gallery(clip_view, **changes) -> Gallery:
    hits = [hit(clip_view, number, **changes) for number in range(3)]
    return Gallery(GalleryClip("query.mp4", "/videos/query.mp4", 0.0, 2.0, view=clip_view(9)), tuple(hits), "3 of 8")


def test_page_shows_every_clip(clip_view):
    page = Page(gallery_page(gallery(clip_view)))
    assert page.all("title") and "Clips like query.mp4" in page.text and "3 of 8" in page.text
    for number in range(3):
        assert f"clip-{number}" in page.text and f"dog/{number}.mp4, 1.00 to 2.50 s" in page.text
        assert f"{0.5 + number / 10:.3f}" in page.text
    assert len(page.all("li")) == 3 + 2  # and two links to the sections
    # Of each of 4 clips: 4 segments with 2 frames and a spectrogram.
    assert len(page.all("img")) == 4 * 4 * 3
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_page_asks_for_nothing(clip_view):
    text = gallery_page(gallery(clip_view))
    assert not re.search(r"https?://|//[a-z]|url\(|@import|<script|<iframe|<object", text)
    page = Page(text)
    for _, attributes in page.elements:
        for name in ("src", "href", "srcset", "data", "poster"):
            if name in attributes:
                assert attributes[name].startswith(("data:", "#")), attributes
    policies = [meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    assert policies == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


def test_hostile_names_are_only_text(clip_view):
    view = clip_view(1, HOSTILE)
    clip = GalleryClip(HOSTILE, f"dog/{HOSTILE}", 0.0, 1.0, HOSTILE, 0.9, view)
    harmless = GalleryClip("a", "dog/a", 0.0, 1.0, "b", 0.9, clip_view(1, "b"))
    page, expected = (Page(gallery_page(Gallery(c, (c,), c.clip_id))) for c in (clip, harmless))
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in expected.elements]
    assert [set(attributes) for _, attributes in page.elements] == [set(a) for _, a in expected.elements]
    assert page.text.count("<script>alert(1)</script>") >= 4


def test_plain_rows_where_there_is_nothing_to_see(clip_view):
    page = Page(gallery_page(gallery(clip_view, view=None)))
    assert page.text.count("Neither the file nor its record can be read here.") == 3
    assert "dog/2.mp4" in page.text and "0.700" in page.text
    assert len(page.all("img")) == 4 * 3  # of the query


def test_similarities_below_zero_are_shown_as_they_are(clip_view):
    page = Page(gallery_page(gallery(clip_view, similarity=-0.25)))
    assert "-0.250" in page.text
    assert {bar["style"] for bar in page.all("span") if bar.get("class") == "bar"} == {"--share:0.0000"}


def test_names_that_are_no_text_can_be_written(tmp_path, clip_view):
    clip = hit(clip_view, 1, view=None)
    name = b"caf\xe9.mp4".decode("utf-8", "surrogateescape")
    path = write_gallery(tmp_path / "g.html", Gallery(GalleryClip(name, name), (clip,)))
    assert r"caf\udce9.mp4" in path.read_text(encoding="utf-8")
    assert [file.name for file in tmp_path.iterdir()] == ["g.html"]


def test_a_place_that_cannot_be_written(tmp_path, clip_view):
    with pytest.raises(PemtError, match=r"cannot write .*g.html: No such file"):
        write_gallery(tmp_path / "none" / "g.html", gallery(clip_view))


# What there is to see


def test_view_of_a_record_in_memory(geometry):
    clip = get_fake_clip(geometry, 3)
    view = view_of_record(clip, geometry, "dog")
    assert (view.clip_id, view.label, view.segments) == (clip.clip_id, "dog", geometry.segments)
    # Two frames a segment are shown, which are all there are.
    assert [jpeg for segment in view.frames for jpeg in segment] == clip.jpegs
    np.testing.assert_array_equal(view.log_mel, clip.log_mel)
    assert view.segment_starts == (clip.image_times[0], clip.image_times[2], clip.image_times[4])


@pytest.mark.parametrize(("video", "audio"), [(False, True), (True, False)])
def test_view_of_a_record_with_one_stream(geometry, video, audio):
    view = view_of_record(get_fake_clip(geometry, 3, video=video, audio=audio), geometry)
    assert (bool(view.frames), view.log_mel is not None, view.segments) == (video, audio, geometry.segments)


def test_views_of_records_are_found_by_id(tmp_path, geometry):
    clips = fake_clips(geometry, 9)
    folder = write_dataset(tmp_path / "records", geometry, {"train": clips})
    files = [*sorted(folder.glob("train/*")), folder / "train" / "gone.tfrecord"]
    wanted = [clips[number].clip_id for number in (2, WITHOUT_VIDEO, WITHOUT_AUDIO)]
    views = views_of_records(files, geometry, [*wanted, "no such clip"])
    assert set(views) == set(wanted)
    np.testing.assert_array_equal(views[wanted[0]].log_mel, clips[2].log_mel)
    assert not views[wanted[1]].frames and views[wanted[2]].log_mel is None
    files[0].write_bytes(b"damaged")
    assert views_of_records(files[:1], geometry, wanted) == {}


def test_view_of_a_file(tmp_path, geometry):
    path = media.write_video(tmp_path / "a.mp4", seconds=3)
    view = view_of_file(path, geometry, 1.0, 2.5)
    assert view.segments == geometry.segments and view.segment_starts[0] == pytest.approx(1.0, abs=0.05)
    assert view_of_file(tmp_path / "gone.mp4", geometry, 0.0, 1.0) is None
    media.not_media(tmp_path / "b.mp4")
    assert view_of_file(tmp_path / "b.mp4", geometry, 0.0, 1.0) is None

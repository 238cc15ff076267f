"""A folder of embeddings of real small files, and its page."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from pemt_tf.explore.build import build_explorer
from pemt_tf.explore.options import ExploreOptions
from pemt_tf.explore.page import write_explorer
from pemt_tf.search.embedding_card import VIDEOS
from tests import media_files as media
from tests.fake_embeddings import replace_card, write_embeddings

HOSTILE = '</script><script>document.title="broken"</script>'  # as a label; an id has no slash and is a file's name
HOSTILE_NAME = "<img src=x onerror=alert(1)>&amp; \"quoted\" 'ä' #1 100%.webm"
GEOMETRY = {
    "segments": 2,
    "frames_per_segment": 2,
    "frame_rate": 4,
    "stored_short_side": 24,
    "train_crop": 16,
    "train_scale": [16, 24],
    "test_crop": 20,
    "sample_rate": 8000,
    "samples_per_segment": 4000,
    "mel_bins": 16,
    "mel_frames": 16,
}
NAMES = ("a/first.webm", "a/second.webm", f"b/{HOSTILE_NAME}", "b/pictures.avi", "b/sound.mkv", "c/gone.mp4")


def clip_row(name, label, **more):
    row = {"id": name, "path": name, "start": 0.0, "end": 1.0, "label": label, "split": "train"}
    return row | {"has_video": True, "has_audio": True} | more


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Six clips on a plane, at the corners of a hexagon of different sides: who is near whom is known."""
    root = tmp_path_factory.mktemp("explore")
    videos = root / "videos"
    for name in NAMES[:3]:
        media.write_video(videos / name, seconds=1, video_codec="libvpx", audio_codec="libopus")
    media.write_video(videos / NAMES[3], seconds=1, video_codec="mpeg4", audio_codec=None)
    media.write_video(videos / NAMES[4], seconds=1, video_codec=None)
    labels = ("bell", "bell", HOSTILE, "dog", None, "dog")
    rows = [clip_row(name, label) for name, label in zip(NAMES, labels, strict=True)]
    rows[3]["has_audio"] = rows[4]["has_video"] = False
    angles = np.radians([0, 10, 30, 90, 180, 260])
    vectors = np.stack([np.cos(angles), np.sin(angles), np.zeros(6)], axis=1).astype(np.float32)
    write_embeddings(root / "embeddings", vectors, rows)
    from pemt_tf.config import ClipGeometry

    geometry = dataclasses.replace(ClipGeometry(), **{**GEOMETRY, "train_scale": tuple(GEOMETRY["train_scale"])})
    replace_card(root / "embeddings", root=str(videos), source_kind=VIDEOS, geometry=geometry)
    return root


@pytest.fixture(scope="session")
def explorer(folder):
    options = ExploreOptions(page=folder / "explore.html", projection="pca")
    return build_explorer(folder / "embeddings", options)


@pytest.fixture(scope="session")
def page(folder, explorer):
    return write_explorer(folder / "explore.html", explorer)

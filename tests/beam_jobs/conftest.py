"""A small corpus of real files, and the data set made of it; made once."""

import pytest

from beam_jobs.preprocess import main
from tests import media_files as media


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    """Ten files: four containers, two labels, one without sound, one without pictures, three bad ones, one text."""
    root = tmp_path_factory.mktemp("corpus") / "videos"
    for number, suffix in enumerate([".mp4", ".webm", ".avi", ".mkv"]):
        label = ("dog", "cat")[number % 2]
        media.write_video(
            root / label / f"v{number}{suffix}", seconds=1.0 + 0.25 * number, fps=(25, 30, 24, 15)[number]
        )
    media.write_video(root / "silent.mp4", audio_codec=None, seconds=1)
    media.write_video(root / "unlabelled" / "blind.mp4", video_codec=None, seconds=1)
    media.not_media(root / "dog" / "broken.mp4")
    media.write_video(root / "short.mp4", seconds=0.2)
    media.cut(media.write_video(root / "cut.mkv", seconds=4), 0.3)
    (root / "readme.txt").write_text("hello")
    return root


@pytest.fixture(scope="session")
def made(corpus, tmp_path_factory):
    output = tmp_path_factory.mktemp("made") / "data"
    assert main(["--input", str(corpus), "--output", str(output), "--preset", "tiny"]) == 0
    return output

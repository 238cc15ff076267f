"""Views of clips, read from record files."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from pemt_tf.config import ClipGeometry
from pemt_tf.data.clip_source import ClipSource
from pemt_tf.data.records import get_fake_clip, serialize
from pemt_tf.report.clip_views import ALL_FRAMES, read_clip_views, record_views

GEOMETRY = ClipGeometry(
    segments=3,
    frames_per_segment=4,
    frame_rate=8,
    stored_short_side=16,
    train_crop=12,
    train_scale=(12, 16),
    test_crop=12,
    sample_rate=16000,
    samples_per_segment=8000,
    mel_bins=5,
    mel_frames=6,
)
SOURCE = ClipSource({}, GEOMETRY, ("cat", "dog"), "records")


@pytest.fixture(scope="module")
def clips():
    labels = (None, 0, 0, 1, None)
    clips = [get_fake_clip(GEOMETRY, seed, label) for seed, label in enumerate(labels)]
    return [*clips, get_fake_clip(GEOMETRY, 5, 1, audio=False), get_fake_clip(GEOMETRY, 6, 1, video=False)]


@pytest.fixture(scope="module")
def files(clips, tmp_path_factory):
    directory = tmp_path_factory.mktemp("records")
    paths = [directory / f"train-{shard}.tfrecord" for shard in range(3)]
    for path, shard in zip(paths, (clips[:4], clips[4:], []), strict=True):
        with tf.io.TFRecordWriter(str(path)) as writer:
            for clip in shard:
                writer.write(serialize(clip, GEOMETRY))
    assert paths[2].stat().st_size == 0  # an empty shard, as Beam may write them
    return paths


def test_views_show_the_bytes_of_the_records(files, clips):
    (view,) = read_clip_views(SOURCE, files, clip_ids=["fake-000003"])
    assert view.label == "dog"
    jpegs = clips[3].jpegs
    assert view.frames == ((jpegs[0], jpegs[2]), (jpegs[4], jpegs[6]), (jpegs[8], jpegs[10]))
    np.testing.assert_array_equal(view.log_mel, clips[3].log_mel)
    # The fake clip's 12 times are linspace(0, 10, 12): segments begin at its values 0, 4 and 8.
    assert view.segment_starts == pytest.approx((0, 40 / 11, 80 / 11), abs=1e-5)
    assert view.segments == 3


def test_frames_shown_follow_the_number_of_segments(files, clips):
    (view,) = read_clip_views(SOURCE, files, clip_ids=["fake-000001"])
    assert [len(segment) for segment in view.frames] == [2, 2, 2]  # 8 in all is the aim
    (all_frames,) = record_views(SOURCE, files, ["fake-000001"], ALL_FRAMES)
    assert [jpeg for segment in all_frames.frames for jpeg in segment] == clips[1].jpegs


def test_wanted_clips_come_in_the_wanted_order_and_missing_ones_are_left_out(files):
    views = read_clip_views(SOURCE, files, clip_ids=["fake-000004", "nowhere", "fake-000000"])
    assert [view.clip_id for view in views] == ["fake-000004", "fake-000000"]


def test_chosen_clips_show_every_label_first(files):
    views = read_clip_views(SOURCE, files, count=3)
    assert sorted(view.label for view in views) == ["", "cat", "dog"]
    assert len(read_clip_views(SOURCE, files, count=99)) == 7


def test_missing_streams_are_missing(files):
    without_sound, without_picture = read_clip_views(SOURCE, files, clip_ids=["fake-000005", "fake-000006"])
    assert without_sound.log_mel is None and len(without_sound.frames) == 3
    assert without_picture.frames == () and without_picture.segment_starts == ()
    assert without_picture.log_mel.shape == (3, 5, 6) and without_picture.segments == 3

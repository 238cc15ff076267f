"""What held-out clips are cut by."""

import dataclasses

import pytest
import tensorflow as tf

from pemt_tf.data import records
from pemt_tf.orchestration.nodes.slices import DURATION, SOURCE, add_slices, duration_in_words
from tests.pipeline.dataset import fake_clip, tiny_config


def cut(**changes) -> tuple[bytes, bytes]:
    clip = dataclasses.replace(fake_clip(1, 0), **changes)
    example = add_slices(tf.train.Example.FromString(records.serialize(clip, tiny_config().geometry)))
    return tuple(example.features.feature[name].bytes_list.value[0] for name in (DURATION, SOURCE))


@pytest.mark.parametrize(
    ("seconds", "says"),
    [(0, "0 to 2 s"), (1.99, "0 to 2 s"), (2, "2 to 5 s"), (29.9, "10 to 30 s"), (30, "30 s and more")],
)
def test_durations_fall_into_ranges(seconds, says):
    assert duration_in_words(seconds) == says


def test_a_clip_is_cut_by_its_own_length_and_by_the_folder_of_its_file():
    assert cut(start=1.5, end=5.0, data_path="north/camera 3/a.mp4") == (b"2 to 5 s", b"north/camera 3")
    assert cut(data_path="a.mp4")[1] == b"."


def test_the_column_source_of_a_manifest_goes_before_the_folder():
    assert cut(extra=(("source", "archive"), ("place", "x")))[1] == b"archive"


def test_what_training_reads_stays_as_it_is():
    raw = records.serialize(fake_clip(1, 0), tiny_config().geometry)
    example = add_slices(tf.train.Example.FromString(raw))
    for name in (DURATION, SOURCE):
        del example.features.feature[name]

    assert example == tf.train.Example.FromString(raw)

"""Opening a data set: every refusal is one sentence that names the place."""

import dataclasses
import re
import shutil

import pytest
import tensorflow as tf

from pemt_tf.data import records
from pemt_tf.data.clip_source import ClipSource
from pemt_tf.data.dataset_card import SplitCard
from pemt_tf.errors import PemtError
from tests.fake_dataset import fake_clips, replace_card, write_dataset


@pytest.fixture
def copy(tmp_path, dataset_directory):
    """A copy of the shared data set, to be damaged."""
    return shutil.copytree(dataset_directory, tmp_path / "data")


def test_open(clip_source, dataset_directory, small_config):
    assert clip_source.labels == clip_source.train_labels == ("label0", "label1", "label2")
    assert clip_source.geometry == small_config.geometry
    assert clip_source.content_hash == "f" * 64
    assert [len(files) for files in clip_source.files.values()] == [3, 3]
    assert clip_source.require_split("test")[0] == str(dataset_directory / "test/clips-00000-of-00003.tfrecord")
    clip_source.require_readable("train")
    clip_source.require_known_labels()
    clip_source.require_geometry(small_config.geometry)


def test_files_that_are_gone(copy):
    (copy / "test/clips-00001-of-00003.tfrecord").unlink()
    with pytest.raises(PemtError, match=r"the card names .*test/clips-00001-of-00003\.tfrecord, which is not there"):
        ClipSource.open(copy)


def test_another_geometry_shows_both_values(clip_source, small_config):
    wanted = dataclasses.replace(small_config.geometry, segments=5, mel_bins=20)
    message = "(segments: 5 here, 3 there; mel_bins: 20 here, 16 there)"
    with pytest.raises(PemtError, match=re.escape(message)):
        clip_source.require_geometry(wanted)


def test_unknown_split(clip_source):
    with pytest.raises(PemtError, match=r"has no split 'validation'; it has: train, test$"):
        clip_source.require_split("validation")
    empty = dataclasses.replace(clip_source, files={})
    with pytest.raises(PemtError, match="it has: none"):
        empty.require_split("train")


def test_no_labels_at_all(copy):
    replace_card(copy, labels=[])
    with pytest.raises(PemtError, match="has no labels; put labelled videos in sub-folders"):
        ClipSource.open(copy).require_known_labels()


def test_one_label_alone(copy):
    replace_card(copy, labels=["label0"])
    with pytest.raises(PemtError, match="one label only, 'label0'"):
        ClipSource.open(copy).require_known_labels()


def test_a_label_that_only_the_test_split_has(copy, clip_source):
    replace_card(copy, labels=["label0", "label1", "label2", "zebra", "yak"])
    with pytest.raises(PemtError, match=r"label 'zebra', 'yak' has no clip in the training split"):
        ClipSource.open(copy).require_known_labels()
    unknown = dataclasses.replace(clip_source, labels=("zebra", "yak"), train_labels=None)
    unknown.require_known_labels()  # what the training split has is not known: allowed


@pytest.mark.parametrize("content", [b"this is a text file\n" * 20, b"\x00" * 100, None])
def test_a_file_that_is_no_record_file(copy, content):
    file = copy / "train/clips-00000-of-00003.tfrecord"
    file.write_bytes(content or file.read_bytes()[:1000])  # cut off in the first record
    with pytest.raises(PemtError, match=rf"{re.escape(str(file))} is not a readable record file"):
        ClipSource.open(copy).require_readable("train")


def test_records_that_are_no_examples(copy):
    file = copy / "train/clips-00000-of-00003.tfrecord"
    with tf.io.TFRecordWriter(str(file)) as writer:
        writer.write(b"\xff not a protocol buffer")
    with pytest.raises(PemtError, match=r"clips-00000-of-00003\.tfrecord holds something else than clips"):
        ClipSource.open(copy).require_readable("train")


@pytest.mark.parametrize(
    ("video", "audio", "seen"),
    [(True, True, "6 frames and 768"), (True, False, "6 frames and 0"), (False, True, "0 frames and 768")],
)
def test_records_of_another_geometry_than_the_card_says(tmp_path, small_config, video, audio, seen):
    geometry = small_config.geometry
    clip = records.get_fake_clip(geometry, label=0, video=video, audio=audio)
    write_dataset(tmp_path / "data", geometry, {"train": [clip]})
    replace_card(tmp_path / "data", geometry=dataclasses.replace(geometry, segments=2))
    with pytest.raises(
        PemtError, match=f"holds clips of another geometry: {seen} spectrogram values a clip; the model needs 4 and 512"
    ):
        ClipSource.open(tmp_path / "data").require_readable("train")


def test_only_empty_shards(tmp_path, small_config):
    write_dataset(tmp_path / "data", small_config.geometry, {"train": []})
    with pytest.raises(PemtError, match=r"split 'train' holds no clip$"):
        ClipSource.open(tmp_path / "data").require_readable("train")


def test_an_empty_shard_before_the_first_clip_is_passed_over(tmp_path, small_config):
    write_dataset(tmp_path / "data", small_config.geometry, {"train": fake_clips(small_config.geometry, 1)})
    source = ClipSource.open(tmp_path / "data")
    reversed_files = dataclasses.replace(source, files={"train": source.files["train"][::-1]})
    reversed_files.require_readable("train")


def test_a_data_set_without_training_split(copy):
    source = ClipSource.open(copy)
    replace_card(copy, splits={"test": SplitCard(["test/clips-00000-of-00003.tfrecord"], 12)}, inputs=12, written=12)
    assert ClipSource.open(copy).train_labels == ()
    with pytest.raises(PemtError, match="has no clip in the training split"):
        ClipSource.open(copy).require_known_labels()
    assert source.train_labels

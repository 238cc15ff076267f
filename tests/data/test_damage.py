"""A record that cannot be read is named by file and byte, in one line without TensorFlow's own words."""

from __future__ import annotations

import dataclasses

import pytest
import tensorflow as tf

from pemt_tf.data import records
from pemt_tf.data.clip_source import ClipSource
from pemt_tf.data.damage import find_damage, plain_cause
from pemt_tf.data.few_labels import few_labelled
from pemt_tf.data.input_pipeline import evaluation_clips, read_batches, training_clips
from pemt_tf.data.record_format import RecordFile
from pemt_tf.errors import PemtError
from tests.fake_dataset import fake_clips, write_dataset


@pytest.fixture
def clips(small_config):
    return fake_clips(small_config.geometry, 5)


def written(tmp_path, geometry, clips, replaced: bytes | None = None, flipped: int | None = None):
    """A data set of one file with another third record, or with a wrong bit in it; its source and the record's place.

    Args:
        replaced: what stands there in the place of the clip.
        flipped: a byte of the record with a wrong bit.
    """
    folder = write_dataset(tmp_path / "data", geometry, {"train": clips}, shards=1)
    path = folder / "train/clips-00000-of-00002.tfrecord"
    serialized = [records.serialize(clip, geometry) for clip in clips]
    offset = sum(16 + len(record) for record in serialized[:2])
    if replaced is not None:
        serialized[2] = replaced
    with path.open("wb") as opened:
        file = RecordFile(opened)
        for record in serialized:
            file.write(record)
    if flipped is not None:
        content = bytearray(path.read_bytes())
        content[offset + flipped] ^= 1
        path.write_bytes(content)
    return ClipSource.open(folder), f"{path}: record 2, at byte {offset}, "


def read_all(source):
    """Everything that goes through the records."""
    return {
        "evaluation": lambda: list(read_batches(evaluation_clips(source, "train", 2), source, "train")),
        "training": lambda: list(
            zip(range(4), read_batches(training_clips(source, "train", 2, seed=0), source, "train"), strict=False)
        ),
        "few labels": lambda: few_labelled(source, "train", 1, seed=0),
    }


READERS = ("evaluation", "training")  # of whole records; a draw of few labels looks at ids and labels only


def refusals(source, names=("evaluation", "training", "few labels")) -> list[str]:
    found = []
    for name in names:
        with pytest.raises(PemtError) as caught:
            read_all(source)[name]()
        found.append(str(caught.value))
        assert "\n" not in found[-1] and "{{" not in found[-1] and "\\x" not in found[-1], found[-1]
    return found


@pytest.mark.parametrize(
    ("flipped", "wrong"), [(100, "is damaged, or the file ends within it"), (3, "has a damaged header")]
)
def test_a_wrong_bit(tmp_path, small_config, clips, flipped, wrong):
    source, place = written(tmp_path, small_config.geometry, clips, flipped=flipped)
    if flipped == 3:  # found out before anything is read
        with pytest.raises(PemtError, match=f"file: {place.partition(': ')[2]}has a damaged header"):
            evaluation_clips(source, "train", 2)
    else:
        assert all(said.startswith(place + wrong) for said in refusals(source, READERS))


def test_bytes_that_are_no_clip(tmp_path, small_config, clips):
    """TensorFlow's message would hold the bytes, and Python could not even read it."""
    source, place = written(tmp_path, small_config.geometry, clips, replaced=b"\xff\xfe\x80 not a clip")
    assert all(said.startswith(f"{place}holds something else than a clip") for said in refusals(source))


def test_a_clip_without_a_field(tmp_path, small_config, clips):
    example = tf.train.Example.FromString(records.serialize(clips[2], small_config.geometry))
    del example.features.feature[records.START]
    source, place = written(tmp_path, small_config.geometry, clips, replaced=example.SerializeToString())
    assert all(said.startswith(f"{place}lacks a field of a clip (") for said in refusals(source, READERS))


def test_a_clip_of_another_geometry(tmp_path, small_config, clips):
    other = dataclasses.replace(small_config.geometry, segments=2)
    record = records.serialize(fake_clips(other, 1)[0], other)
    source, place = written(tmp_path, small_config.geometry, clips, replaced=record)
    wanted = f"{place}holds 4 frames and 512 spectrogram values; by the geometry there must be 6 and 768"
    assert all(said.startswith(wanted) for said in refusals(source, READERS))


@pytest.mark.parametrize("label", [3, 7, -2])
def test_a_label_beyond_the_vocabulary(tmp_path, small_config, clips, label):
    """It was an IndexError. Which clips have labels is asked before, by whatever number."""
    record = records.serialize(dataclasses.replace(clips[2], label_indices=(label,)), small_config.geometry)
    source, place = written(tmp_path, small_config.geometry, clips, replaced=record)
    wanted = f"{place}clip 'fake-000002', has label {label}, but the vocabulary has 3 labels, from 0"
    assert all(said.startswith(wanted) for said in refusals(source, READERS))


def test_a_frame_that_is_cut_off(tmp_path, small_config, clips):
    jpegs = [*clips[2].jpegs[:4], clips[2].jpegs[4][:100], clips[2].jpegs[5]]
    record = records.serialize(dataclasses.replace(clips[2], jpegs=jpegs), small_config.geometry)
    source, place = written(tmp_path, small_config.geometry, clips, replaced=record)
    wanted = f"{place}clip 'fake-000002', holds a frame that is not a JPEG or is cut off (frame 4)"
    assert all(said.startswith(wanted) for said in refusals(source, READERS))


def test_nothing_is_found_in_good_records(clip_source):
    assert find_damage(clip_source, "train") is None


def test_the_words_of_tensorflow_are_shortened():
    said = "{{function_node __wrapped__Iter}} Could not parse example input, value: '\n\x0b\x00\xff'\n\t [[{{node X}}]]"
    assert plain_cause(tf.errors.InvalidArgumentError(None, None, said)) == "Could not parse example input"
    said = "{{function_node a}} corrupted record at 26148 [Op:IteratorGetNext] name: "
    assert plain_cause(tf.errors.DataLossError(None, None, said)) == "corrupted record at 26148"
    assert len(plain_cause(OSError("x" * 500))) == 160

"""The bytes that we encode by hand are those that TensorFlow writes, and it reads them."""

import dataclasses
import io

import numpy as np
import pytest
import tensorflow as tf

from pemt_tf.config import Config
from pemt_tf.data import record_format, records

GEOMETRY = Config.from_preset("tiny").geometry
MESSAGES = {"example": tf.train.Example, "sequence_example": tf.train.SequenceExample}


def clip(video=True, audio=True, label=None):
    made = records.get_fake_clip(GEOMETRY, 5, label, width=40, video=video, audio=audio)
    waveform = np.random.default_rng(1).normal(size=(GEOMETRY.segments, GEOMETRY.samples_per_segment))
    return dataclasses.replace(
        made,
        clip_id="ünï",
        start=-0.25,  # a negative number takes ten bytes
        extra=(("scene", "ä"), ("Author", "x" * 300)),
        waveform=waveform.astype(np.float32) if audio else None,
    )


@pytest.mark.parametrize("payload", record_format.PAYLOADS)
@pytest.mark.parametrize(("video", "audio", "label"), [(True, True, 200), (True, False, None), (False, True, 0)])
def test_bytes_are_those_of_tensorflow(payload, video, audio, label):
    serialized = record_format.serialize(clip(video, audio, label), GEOMETRY, payload)
    message = MESSAGES[payload].FromString(serialized)
    assert message.SerializeToString(deterministic=True) == serialized


@pytest.mark.parametrize(("video", "audio"), [(True, True), (True, False), (False, True)])
def test_both_payloads_are_read_alike(video, audio):
    one = clip(video, audio, 3)
    parsed = [records.parse(record_format.serialize(one, GEOMETRY, name), GEOMETRY, name) for name in MESSAGES]
    assert parsed[0].keys() == parsed[1].keys()
    for name in parsed[0]:
        np.testing.assert_array_equal(parsed[0][name], parsed[1][name], err_msg=name)
        assert parsed[0][name].shape == parsed[1][name].shape
    if audio:
        np.testing.assert_array_equal(parsed[1]["log_mel"], one.log_mel)


def test_sequence_example_has_the_names_of_media_sequence():
    message = tf.train.SequenceExample.FromString(record_format.serialize(clip(), GEOMETRY, "sequence_example"))
    count = GEOMETRY.segments * GEOMETRY.frames_per_segment
    lists = {name: len(one.feature) for name, one in message.feature_lists.feature_list.items()}
    assert lists == {
        "image/encoded": count,
        "image/timestamp": count,
        "LOG_MEL/feature/floats": GEOMETRY.segments,
        "WAVEFORM/feature/floats": GEOMETRY.segments,
    }
    context = message.context.feature
    assert context["image/format"].bytes_list.value[:] == [b"JPEG"]
    assert context["WAVEFORM/feature/rate"].float_list.value[:] == [GEOMETRY.sample_rate]
    assert context["LOG_MEL/feature/dimensions"].int64_list.value[:] == [GEOMETRY.mel_bins, GEOMETRY.mel_frames]
    assert {"clip/id", "clip/data_path", "clip/start/timestamp", "clip/label/string"} <= set(context)
    stored = np.array(
        [one.float_list.value for one in message.feature_lists.feature_list["WAVEFORM/feature/floats"].feature]
    )
    np.testing.assert_array_equal(stored.astype(np.float32), clip().waveform)


def test_extra_columns_are_features():
    features = tf.train.Example.FromString(record_format.serialize(clip(), GEOMETRY)).features.feature
    assert features["clip/extra/scene"].bytes_list.value[0].decode() == "ä"


def test_record_files_are_those_of_tensorflow(tmp_path):
    contents = [b"abc", b"", bytes(range(256)) * 1000]
    with tf.io.TFRecordWriter(str(tmp_path / "theirs")) as writer:
        for record in contents:
            writer.write(record)
    ours = io.BytesIO()
    writer = record_format.RecordFile(ours)
    for record in contents:
        writer.write(record)
    theirs = (tmp_path / "theirs").read_bytes()
    assert ours.getvalue() == theirs and writer.bytes == len(theirs)
    assert list(record_format.read_records(io.BytesIO(theirs))) == contents
    assert list(record_format.read_records(io.BytesIO(theirs), first=2)) == contents[2:]


@pytest.mark.parametrize("place", [0, 9, 13, 15, 17])
def test_damage_is_noticed(place):
    file = io.BytesIO()
    record_format.RecordFile(file).write(b"abc")
    data = bytearray(file.getvalue())
    data[place] ^= 1
    with pytest.raises(ValueError, match="record 0"):
        list(record_format.read_records(io.BytesIO(data)))


@pytest.mark.parametrize("length", [1, 11, 12, 14, 18])
def test_cut_files_are_noticed(length):
    file = io.BytesIO()
    record_format.RecordFile(file).write(b"abc")
    with pytest.raises(ValueError, match="record 0"):
        list(record_format.read_records(io.BytesIO(file.getvalue()[:length])))

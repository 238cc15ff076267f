"""Records: what is written is what is read, for every combination of streams."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from pemt_tf.config import ClipGeometry
from pemt_tf.data import records

GEOMETRY = ClipGeometry(
    segments=2,
    frames_per_segment=3,
    frame_rate=6,
    stored_short_side=16,
    train_crop=12,
    train_scale=(12, 16),
    test_crop=12,
    sample_rate=4000,
    samples_per_segment=2000,
    mel_bins=5,
    mel_frames=7,
)


def make_clip(video=True, audio=True, label=None):
    """A clip whose every value is known."""
    return records.ClipRecord(
        clip_id="clip é 1",
        data_path="folder/ünïcode.mp4",
        start=1.25,
        end=3.1234567,
        jpegs=[b"jpeg%d" % i for i in range(6)] if video else None,
        image_times=[1.25, 1.4166666, 1.5833333, 2.0, 2.1666666, 2.3333333] if video else [],
        height=16 if video else 0,
        width=24 if video else 0,
        log_mel=np.linspace(-14, 3, 70, dtype=np.float32).reshape(2, 5, 7) if audio else None,
        labels=() if label is None else ("dog",),
        label_indices=() if label is None else (label,),
    )


def features_of(serialized):
    return tf.train.Example.FromString(serialized).features.feature


STREAMS = [(True, True), (True, False), (False, True), (False, False)]


@pytest.mark.parametrize(("video", "audio"), STREAMS)
@pytest.mark.parametrize("in_graph", [False, True])
def test_round_trip(video, audio, in_graph):
    parse = tf.function(records.parse) if in_graph else records.parse
    clip = make_clip(video, audio, label=2)
    parsed = {k: v.numpy() for k, v in parse(records.serialize(clip, GEOMETRY), GEOMETRY).items()}
    assert parsed["id"].decode() == "clip é 1"
    assert parsed["path"].decode() == "folder/ünïcode.mp4"
    assert parsed["start"] == np.float32(1.25) and parsed["end"] == pytest.approx(3.123457, abs=1e-6)
    assert parsed["label"] == 2
    assert (parsed["has_video"], parsed["has_audio"]) == (video, audio)
    assert parsed["jpegs"].tolist() == ([b"jpeg%d" % i for i in range(6)] if video else [b""] * 6)
    assert (parsed["height"], parsed["width"]) == ((16, 24) if video else (0, 0))
    expected = np.linspace(-14, 3, 70, dtype=np.float32).reshape(2, 5, 7) if audio else np.zeros((2, 5, 7))
    np.testing.assert_array_equal(parsed["log_mel"], expected)


@pytest.mark.parametrize(("video", "audio"), STREAMS)
def test_what_is_on_the_wire(video, audio):
    """Names and types as MediaSequence has them; a missing stream is a flag and an absent feature, never zeros."""
    features = features_of(records.serialize(make_clip(video, audio, label=0), GEOMETRY))
    assert features["clip/start/timestamp"].int64_list.value[:] == [1_250_000]
    assert features["clip/end/timestamp"].int64_list.value[:] == [3_123_457]
    assert features["clip/label/string"].bytes_list.value[:] == [b"dog"]
    assert features["clip/label/index"].int64_list.value[:] == [0]
    assert features["has_video"].int64_list.value[:] == [int(video)]
    assert features["has_audio"].int64_list.value[:] == [int(audio)]
    assert ("image/encoded" in features) == ("image/timestamp" in features) == video
    assert ("audio/log_mel" in features) == audio
    if video:
        times = [1_250_000, 1_416_667, 1_583_333, 2_000_000, 2_166_667, 2_333_333]
        assert features["image/timestamp"].int64_list.value[:] == times


def test_no_label_is_an_empty_list_and_reads_as_minus_one():
    serialized = records.serialize(make_clip(), GEOMETRY)
    assert features_of(serialized)["clip/label/index"].int64_list.value[:] == []
    assert int(records.parse(serialized, GEOMETRY)["label"]) == -1


def test_a_path_that_is_no_unicode_survives():
    path = b"folder/\xff\xfe.mp4"
    clip = dataclasses.replace(make_clip(), data_path=path.decode("utf-8", "surrogateescape"))
    assert records.parse(records.serialize(clip, GEOMETRY), GEOMETRY)["path"].numpy() == path


@pytest.mark.parametrize(
    ("seconds", "expected"), [(0.0, 0), (1e-7, 0), (0.1 + 0.2, 300_000), (3599.9999996, 3_600_000_000)]
)
def test_microseconds(seconds, expected):
    assert records.microseconds(seconds) == expected


def test_equal_clips_give_equal_bytes():
    assert records.serialize(make_clip(label=1), GEOMETRY) == records.serialize(make_clip(label=1), GEOMETRY)
    fakes = [records.serialize(records.get_fake_clip(GEOMETRY, seed=3, label=1), GEOMETRY) for _ in range(2)]
    assert fakes[0] == fakes[1]


@pytest.mark.parametrize(
    "change",
    [
        {"jpegs": [b"x"] * 5, "image_times": [0.0] * 5},
        {"image_times": [0.0] * 5},
        {"log_mel": np.zeros((2, 5, 8), np.float32)},
        {"log_mel": np.zeros((2, 7, 5), np.float32)},
    ],
)
def test_a_clip_of_another_geometry_is_not_written(change):
    with pytest.raises(ValueError, match="expected"):
        records.serialize(dataclasses.replace(make_clip(), **change), GEOMETRY)


@pytest.mark.parametrize("change", [{"segments": 3}, {"mel_bins": 6}, {"frames_per_segment": 6, "frame_rate": 12}])
def test_a_record_of_another_geometry_is_not_read(change):
    serialized = records.serialize(make_clip(), GEOMETRY)
    with pytest.raises(tf.errors.InvalidArgumentError):
        records.parse(serialized, dataclasses.replace(GEOMETRY, **change))


def test_fake_clips_are_what_they_say():
    clip = records.get_fake_clip(GEOMETRY, seed=5, label=2, width=20)
    parsed = records.parse(records.serialize(clip, GEOMETRY), GEOMETRY)
    assert int(parsed["label"]) == 2 and bool(parsed["has_video"]) and bool(parsed["has_audio"])
    assert tf.io.decode_jpeg(parsed["jpegs"][0]).shape == (16, 20, 3)
    assert len(set(parsed["jpegs"].numpy().tolist())) == 6
    other = records.get_fake_clip(GEOMETRY, seed=6)
    assert other.clip_id != clip.clip_id and (other.log_mel != clip.log_mel).all()

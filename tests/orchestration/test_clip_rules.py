"""What a record must be to be trained on."""

import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf

from pemt_tf.data import records
from pemt_tf.orchestration.nodes.clip_rules import FINE, ClipRules
from tests.pipeline.dataset import LABELS, fake_clip, tiny_config

RULES = ClipRules(tiny_config().geometry, LABELS)  # 2 segments of 2 pictures, 32 pixels; 2 x 16 x 32 values


def with_nan(log_mel):
    broken = log_mel.copy()
    broken[1, 3, 5] = np.nan
    return broken


def serialized(**changes) -> bytes:
    return records.serialize(dataclasses.replace(fake_clip(1, 0), **changes), RULES.geometry)


def edited(edit) -> bytes:
    example = tf.train.Example.FromString(serialized())
    edit(example.features.feature)
    return example.SerializeToString()


def test_good_clips_pass_with_and_without_a_stream_or_a_label():
    silent = records.get_fake_clip(RULES.geometry, 4, audio=False)
    no_picture = records.get_fake_clip(RULES.geometry, 3, video=False)

    assert RULES.judge(serialized()) == (FINE, "fake-000001")
    assert [RULES.judge(records.serialize(clip, RULES.geometry))[0] for clip in (silent, no_picture)] == [FINE, FINE]
    both = serialized(labels=LABELS, label_indices=(0, 1))
    assert RULES.judge(both)[0] == FINE


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (serialized(label_indices=(2,), labels=("far",)), "a label outside of the vocabulary of 2"),
        (serialized(label_indices=(-1,)), "a label outside of the vocabulary of 2"),
        (serialized(labels=("loud",)), "a label whose name does not match its number"),
        (serialized(log_mel=with_nan(fake_clip(1, 0).log_mel)), "NaN or infinity in the spectrogram"),
        (serialized(height=24, width=24), "frames whose short side is not the geometry's 32 pixels"),
        (serialized(jpegs=[b"GIF89a"] * 4), "a frame that is not a JPEG"),
        (edited(lambda f: f[records.IMAGE].bytes_list.value.pop()), "a number of frames other than 4"),
        (edited(lambda f: f[records.LOG_MEL].float_list.value.pop()), "a number of spectrogram values other than 1024"),
        (edited(lambda f: f.pop(records.LOG_MEL)), "flags has_video and has_audio that contradict the record"),
        (b"\xff\xff\xff", "no readable record"),
    ],
)
def test_each_rule_names_what_is_wrong(raw, says):
    assert RULES.judge(raw)[0].startswith(says)


def test_rules_survive_json():
    assert ClipRules.from_plain(json.loads(json.dumps(RULES.to_plain()))) == RULES

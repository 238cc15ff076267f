"""Frozen parts: which variables they have, and that nothing of them moves."""

import dataclasses
import re

import numpy as np
import pytest

from pemt_tf.config.training import PARTS
from pemt_tf.errors import PemtError
from pemt_tf.models.av_transformer import AVTransformer
from pemt_tf.training.freezing import freeze


@pytest.fixture
def backbone(small_config):
    made = AVTransformer(dataclasses.replace(small_config.model, layers=1), name="backbone")
    made.build()
    return made


@pytest.mark.parametrize(
    ("part", "pattern"),
    [
        ("visual_cnn", r"^backbone/visual_cnn/"),
        ("visual_cnn.s1", r"^backbone/visual_cnn/stem"),
        ("visual_cnn.s3", r"^backbone/visual_cnn/(stem|stage[23]_)"),
        ("audio_cnn.s1", r"^backbone/audio_cnn/stem"),
        ("audio_cnn.s5", r"^backbone/audio_cnn/"),
        ("transformer", r"^backbone/transformer/"),
        ("tokens", r"^backbone/\w+_(projection|token_norm|summary|embeddings)/"),
        ("backbone", r""),
    ],
)
def test_a_part_is_what_its_name_says(backbone, part, pattern):
    before = {v.path for v in backbone.trainable_variables}
    freeze(backbone, (part,))
    gone = before - {v.path for v in backbone.trainable_variables}
    assert gone == {path for path in before if re.search(pattern, path)} and gone


def test_every_name_that_a_configuration_may_have_is_known(backbone):
    for part in PARTS:
        freeze(backbone, (part,))
    assert not backbone.trainable_variables


def test_frozen_is_inference_mode_whatever_is_asked(backbone, small_config):
    """No dropout, running statistics used and left alone; the other CNN's move."""
    geometry = small_config.geometry
    rng = np.random.default_rng(0)
    shape = (2, geometry.segments, geometry.frames_per_segment, 16, 16, 3)
    inputs = {
        "frames": rng.normal(size=shape).astype(np.float32),
        "log_mel": rng.normal(size=(2, geometry.segments, 16, 16, 1)).astype(np.float32),
    }
    freeze(backbone, ("audio_cnn", "tokens", "transformer"))
    audio = {"log_mel": inputs["log_mel"]}
    before = [v.numpy() for v in backbone.cnns["audio"].variables]
    training, inference = (backbone(audio, training=mode)["embedding"] for mode in (True, False))
    np.testing.assert_array_equal(training, inference)
    for mine, theirs in zip(backbone.cnns["audio"].variables, before, strict=True):
        np.testing.assert_array_equal(mine.numpy(), theirs)
    moving = [v for v in backbone.cnns["visual"].variables if "moving" in v.path]
    earlier = [v.numpy() for v in moving]
    backbone.local_features(inputs, training=True)
    assert all((v.numpy() != old).any() for v, old in zip(moving, earlier, strict=True))


def test_a_part_that_the_model_lacks(small_config):
    model = AVTransformer(dataclasses.replace(small_config.model, modalities=("audio",), layers=1))
    model.build()
    with pytest.raises(PemtError, match=re.escape("cannot freeze 'visual_cnn.s2': the model has audio only")):
        freeze(model, ("visual_cnn.s2",))

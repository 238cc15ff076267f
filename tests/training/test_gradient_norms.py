"""Gradient norms by part: every variable belongs to one, and their squares add up to that of the whole."""

import dataclasses
import re

import pytest
import tensorflow as tf

from pemt_tf.models.heads import AVClassifier
from pemt_tf.models.pretraining_model import PretrainingModel
from pemt_tf.training.gradient_norms import part_norms, part_of

PATTERNS = {
    "visual_cnn": r"^\w+/backbone/visual_cnn/",
    "audio_cnn": r"^\w+/backbone/audio_cnn/",
    "transformer": r"^\w+/backbone/(\w+_)?transformer/",
    "tokens": r"^\w+/backbone/\w+_(projection|token_norm|summary|embeddings)/",
    "heads": r"^\w+/(\w+_mask_vector|\w+_compatibility/.*|\w+_pairs/.*|clip_head/.*|sequence_head/.*)$",
}


@pytest.mark.parametrize("sharing", ["low_rank", "none"])
@pytest.mark.parametrize("kind", ["pretraining", "classifier"])
def test_every_variable_belongs_to_the_part_that_its_name_says(small_config, kind, sharing):
    config = dataclasses.replace(small_config.model, layers=1, sharing=sharing)
    if kind == "pretraining":
        model = PretrainingModel(config, small_config.pretrain, name="pretraining")
    else:
        model = AVClassifier(config, 3, name="classifier")
    model.build()
    found = {v.path: part_of(v.path) for v in model.trainable_variables}
    expected = {path: [part for part, pattern in PATTERNS.items() if re.search(pattern, path)] for path in found}
    assert {path: [part] for path, part in found.items()} == expected
    assert set(found.values()) == set(PATTERNS)


def test_norms_are_those_of_the_parts():
    paths = {"m/backbone/visual_cnn/stem/kernel": [3.0], "m/backbone/visual_cnn/b": [4.0], "m/clip_head/b": [6.0, 8.0]}
    variables = [tf.Module(name="v") for _ in paths]
    for variable, path in zip(variables, paths, strict=True):
        variable.path = path
    norms = part_norms([tf.constant(gradient) for gradient in paths.values()], variables)
    assert {name: float(norm) for name, norm in norms.items()} == {
        "visual_cnn_gradient_norm": 5.0,
        "heads_gradient_norm": 10.0,
    }

"""Mixup against a NumPy restatement: inputs, labels, and which clips may meet."""

import numpy as np
import pytest
from keras import ops

from pemt_tf.training.mixup import mix_with_neighbours, mixed_losses


def log_softmax(x):
    x = x.astype(np.float64)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def test_every_clip_is_mixed_with_the_one_before_it():
    log_mel = np.arange(6, dtype=np.float32).reshape(3, 2, 1)
    weight = np.array([0.5, 0.75, 1.0], np.float32)
    mixed, used = mix_with_neighbours({"log_mel": log_mel}, weight)
    np.testing.assert_array_equal(used, weight)
    np.testing.assert_allclose(ops.convert_to_numpy(mixed["log_mel"])[:, :, 0], [[2, 3], [1.5, 2.5], [4, 5]])


def test_clips_with_other_streams_do_not_meet():
    """Clips 1 and 2 lack the sound; only 2 has a neighbour like itself."""
    inputs = {"log_mel": np.random.default_rng(0).normal(size=(4, 2, 3)).astype(np.float32)}
    masks = {
        "audio_mask": np.array([[1, 1], [0, 0], [0, 0], [1, 1]], np.float32),
        "visual_mask": np.ones((4, 2), np.float32),
    }
    mixed, used = mix_with_neighbours({**inputs, **masks}, np.full(4, 0.6, np.float32))
    np.testing.assert_allclose(used, [0.6, 1.0, 0.6, 1.0])
    np.testing.assert_array_equal(mixed["audio_mask"], masks["audio_mask"])
    np.testing.assert_array_equal(ops.convert_to_numpy(mixed["log_mel"])[1], inputs["log_mel"][1])


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_losses_are_those_of_the_mixed_labels(smoothing):
    rng = np.random.default_rng(1)
    logits = {name: rng.normal(size=(3, 2, 4)).astype(np.float32) for name in ("clip", "sequence")}
    probabilities = np.eye(4, dtype=np.float32)[[0, 1, 1]]
    labels, weight = np.array([0, 1, 3]), np.array([0.5, 0.9, 0.7], np.float32)
    target = weight[:, None] * np.eye(4)[labels] + (1 - weight[:, None]) * np.eye(4)[labels[[2, 0, 1]]]
    target = (1 - smoothing) * target + smoothing / 4
    expected = {name: -np.mean((log_softmax(x) * target[:, None]).sum(-1)) for name, x in logits.items()}
    terms = mixed_losses({"logits": logits, "probabilities": probabilities}, labels, weight, smoothing)
    for name, value in expected.items():
        assert float(terms[f"{name}_loss"]) == pytest.approx(value, abs=1e-5)
    assert float(terms["loss"]) == pytest.approx(sum(expected.values()), abs=1e-5)
    assert float(terms["accuracy"]) == pytest.approx(2 / 3)

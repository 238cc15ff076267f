"""Mismatched pairs, the pair classifier and its loss (PRETRAINING.md section 4)."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops
from scipy import stats

from pemt_tf.losses.correct_pair_prediction import PairClassifier, draw_derangement, pair_loss, summary_and_position


@settings(deadline=None, max_examples=60)
@given(batch=st.integers(2, 64), seed=st.integers(0, 2**31 - 1))
def test_derangement_is_a_permutation_without_fixed_point(batch, seed):
    order = np.asarray(draw_derangement(batch, seed))
    assert order.dtype == np.int32
    assert sorted(order.tolist()) == list(range(batch))
    assert (order != np.arange(batch)).all()


def test_every_other_clip_is_equally_likely_as_the_wrong_partner():
    partners = [int(np.asarray(draw_derangement(5, seed))[2]) for seed in range(600)]
    counts = np.bincount(partners, minlength=5)
    assert counts[2] == 0
    assert stats.chisquare(counts[[0, 1, 3, 4]]).pvalue > 1e-3


def test_pair_loss_is_the_mean_binary_cross_entropy():
    logits = np.array([[2.0, -1.0], [0.5, -3.0]], np.float32)
    targets = np.array([[1.0, 1.0], [0.0, 0.0]], np.float32)
    probability = 1 / (1 + np.exp(-logits.astype(np.float64)))
    expected = -np.mean(targets * np.log(probability) + (1 - targets) * np.log(1 - probability))
    loss, accuracy = pair_loss(ops.convert_to_tensor(logits), ops.convert_to_tensor(targets))
    assert float(loss) == pytest.approx(expected, abs=1e-6)
    assert float(accuracy) == 0.5  # 2.0 and -3.0 are right


def test_pair_loss_stays_finite_for_huge_logits():
    loss, _ = pair_loss(ops.convert_to_tensor([-1e4, 1e4]), ops.convert_to_tensor([1.0, 0.0]))
    assert float(loss) == pytest.approx(1e4)


def test_summary_and_position_picks_the_summary_and_the_named_segment():
    context = np.arange(2 * 4 * 3, dtype=np.float32).reshape(2, 4, 3)  # summary and 3 segments
    picked = np.asarray(summary_and_position(ops.convert_to_tensor(context), ops.convert_to_tensor([0, 2])))
    np.testing.assert_array_equal(picked, [[context[0, 0], context[0, 1]], [context[1, 0], context[1, 3]]])


def test_pair_classifier_equals_the_formula():
    classifier = PairClassifier(hidden=3)
    classifier.build()
    rng = np.random.default_rng(2)
    classifier.set_weights([rng.normal(size=w.shape) for w in classifier.weights])
    visual, audio = rng.normal(size=(2, 2, 3)).astype(np.float32), rng.normal(size=(2, 2, 3)).astype(np.float32)
    w1, b1, w2, b2 = (np.asarray(w) for w in classifier.get_weights())
    inner = np.concatenate([visual, audio], -1) @ w1 + b1
    inner = inner / 2 * (1 + np.vectorize(math.erf)(inner / math.sqrt(2)))
    logits = np.asarray(classifier(visual, audio))
    assert logits.shape == (2, 2)
    np.testing.assert_allclose(logits, (inner @ w2 + b2)[..., 0], rtol=1e-5, atol=1e-5)

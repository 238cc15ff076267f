"""Mismatched pairs, the pair classifier and its loss (docs/pretraining_objectives.md section 4)."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops
from scipy import stats

from pemt_tf.losses.correct_pair_prediction import (
    PairClassifier,
    complete_pairs,
    draw_derangement,
    draw_positions,
    pair_loss,
    summary_and_position,
)


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


def test_pair_loss_is_the_mean_over_counted_pairs():
    logits = np.array([[2.0, -1.0], [9.0, 9.0], [0.5, -3.0], [-7.0, 1.0]], np.float32)
    targets = np.array([[1.0, 1.0], [1.0, 1.0], [0.0, 0.0], [0.0, 0.0]], np.float32)
    probability = 1 / (1 + np.exp(-logits[[0, 2]].astype(np.float64)))
    expected = -np.mean(targets[[0, 2]] * np.log(probability) + (1 - targets[[0, 2]]) * np.log(1 - probability))
    counted = ops.convert_to_tensor(np.array([1, 0, 1, 0], np.float32))
    loss, accuracy = pair_loss(ops.convert_to_tensor(logits), ops.convert_to_tensor(targets), counted)
    assert float(loss) == pytest.approx(expected, abs=1e-6)
    assert float(accuracy) == pytest.approx(0.5)  # 2.0 and -3.0 are right


def test_pair_loss_of_no_counted_pair_is_zero():
    loss, accuracy = pair_loss(ops.ones((3, 2)), ops.zeros((3, 2)), ops.zeros((3,)))
    assert float(loss) == float(accuracy) == 0.0


def test_complete_pairs_need_a_segment_on_every_side():
    visual = np.array([[1, 0], [0, 0], [0, 1], [0, 0]], np.float32)
    audio = np.array([[0, 1], [1, 1], [0, 0], [0, 0]], np.float32)
    assert np.asarray(complete_pairs({"visual": visual, "audio": audio})).tolist() == [1, 0, 0, 0]
    assert np.asarray(complete_pairs({"audio": audio})).tolist() == [1, 1, 0, 0]


def test_positions_are_drawn_evenly_among_present_segments():
    patterns = np.array(
        [[0, 0, 1, 0, 0], [1, 0, 0, 1, 0], [0, 1, 1, 0, 1], [1, 1, 1, 1, 1], [0, 0, 0, 0, 0]], np.float32
    )
    rows = 4000
    drawn = np.asarray(draw_positions(5 * rows, 5, 3, np.repeat(patterns, rows, axis=0))).reshape(5, rows)
    assert drawn.dtype == np.int32 and (drawn[4] == 0).all()
    for pattern, positions in zip(patterns[:4], drawn, strict=False):
        there = pattern > 0
        counts = np.bincount(positions, minlength=5)
        assert counts.shape == (5,) and (counts[~there] == 0).all()
        assert there.sum() == 1 or stats.chisquare(counts[there]).pvalue > 1e-3


@pytest.mark.parametrize("segments", [1, 3, 10, 16, 24])
def test_positions_of_complete_clips_are_those_without_masks(segments):
    plain = np.asarray(draw_positions(300, segments, 7))
    masked = np.asarray(draw_positions(300, segments, 7, np.ones((300, segments), np.float32)))
    np.testing.assert_array_equal(masked, plain)
    assert set(plain.tolist()) == set(range(segments))


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

"""The masking and the InfoNCE loss against NumPy restatements of docs/pretraining_objectives.md section 2."""

import math

import keras
import numpy as np
import pytest
from keras import ops
from scipy import stats

from pemt_tf.losses.masked_embedding_prediction import CompatibilityNetwork, draw_mask, info_nce, logit_std, standardize


@pytest.mark.parametrize(("segments", "rate"), [(1, 0.15), (4, 0.15), (10, 0.15), (10, 0.6), (3, 1.0)])
def test_mask_rate_and_at_least_one_per_row(segments, rate):
    rows = 4000
    mask = np.asarray(draw_mask(rows, segments, rate, seed=5))
    assert mask.shape == (rows, segments) and mask.dtype == np.float32 and set(np.unique(mask)) <= {0.0, 1.0}
    chosen = mask.sum(1)
    assert chosen.min() >= 1
    # A row has Binomial(segments, rate) masks, or one where that is none.
    mean = segments * rate + (1 - rate) ** segments
    second = segments * rate * (1 - rate) + (segments * rate) ** 2 + (1 - rate) ** segments
    assert abs(chosen.mean() - mean) <= 4 * math.sqrt(max(second - mean**2, 1e-12) / rows)
    # No position is preferred.
    share = mean / segments
    assert np.abs(mask.mean(0) - share).max() <= 5 * math.sqrt(share * (1 - share) / rows) + 1e-9


@pytest.mark.parametrize("rate", [0.15, 0.6, 1.0])
def test_mask_is_drawn_among_present_segments(rate):
    """Rows with 0 to 4 of 4 segments: none of an absent one, at least one of any, and no present one preferred."""
    patterns = np.array([[0, 0, 0, 0], [0, 0, 1, 0], [1, 0, 0, 1], [0, 1, 1, 1], [1, 1, 1, 1]], np.float32)
    rows = 3000
    mask = np.asarray(draw_mask(5 * rows, 4, rate, seed=5, present=np.repeat(patterns, rows, axis=0)))
    for pattern, drawn in zip(patterns, mask.reshape(5, rows, 4), strict=True):
        count = int(pattern.sum())
        assert (drawn * (1 - pattern) == 0).all()
        assert count == 0 or drawn.sum(1).min() >= 1
        share = (count * rate + (1 - rate) ** count) / count if count else 0.0
        error = 5 * math.sqrt(share * (1 - share) / rows) + 1e-9
        assert np.abs(drawn.mean(0) - share * pattern).max() <= error


def test_masks_of_two_streams_are_independent():
    """As a model draws them, one after the other: chi-square of all pairs of masks of two segments."""
    seeds = keras.random.SeedGenerator(4)
    visual, audio = (np.asarray(draw_mask(8000, 2, 0.4, seeds)) @ [1, 2] for _ in range(2))
    table = np.array([[((visual == v) & (audio == a)).sum() for a in (1, 2, 3)] for v in (1, 2, 3)])
    assert table.sum() == 8000
    assert stats.chi2_contingency(table).pvalue > 1e-3


def test_mask_of_complete_rows_is_the_one_without_presence():
    plain, masked = (np.asarray(draw_mask(500, 7, 0.15, 9, p)) for p in (None, np.ones((500, 7), np.float32)))
    np.testing.assert_array_equal(masked, plain)


def test_info_nce_equals_the_formula():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(6, 6)).astype(np.float32) * 3
    negatives = np.array([[1, 2], [0, 5], [4, 0], [5, 4], [0, 1], [2, 3]], np.int32)
    valid = np.array([[1, 1], [1, 0], [1, 1], [0, 0], [1, 1], [1, 1]], bool)
    weights = np.array([1, 1, 0, 1, 0, 1], np.float32)
    terms, hits = [], []
    for t in np.flatnonzero(weights):
        positive = math.exp(logits[t, t])
        drawn = [math.exp(logits[t, j]) for j, ok in zip(negatives[t], valid[t], strict=True) if ok]
        terms.append(-math.log(positive / (positive + sum(drawn))))
        hits.append(positive > max(drawn, default=0.0))
    loss, accuracy = info_nce(ops.convert_to_tensor(logits), negatives, valid, weights)
    assert float(loss) == pytest.approx(np.mean(terms), abs=1e-5)
    assert float(accuracy) == pytest.approx(np.mean(hits))


def test_info_nce_of_equal_logits_is_the_log_of_their_number():
    negatives = np.array([[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]], np.int32)
    loss, accuracy = info_nce(ops.full((4, 4), 2.5), negatives, np.ones((4, 3), bool), np.ones(4, np.float32))
    assert float(loss) == pytest.approx(math.log(4), abs=1e-6)
    assert float(accuracy) == 0.0


def test_info_nce_stays_finite_for_huge_logits():
    logits = ops.convert_to_tensor(np.array([[5e4, -5e4], [5e4, -5e4]], np.float32))
    loss, _ = info_nce(logits, np.array([[1], [0]], np.int32), np.ones((2, 1), bool), np.ones(2, np.float32))
    assert float(loss) == pytest.approx(5e4)


def test_compatibility_network_equals_the_formula():
    """log I(x, o) = (W2 gelu(W1 o + b1) + b2) . (W x), gelu by the error function."""
    network = CompatibilityNetwork(hidden=6, projection=4)
    network.build()
    rng = np.random.default_rng(1)
    network.set_weights([rng.normal(size=w.shape) for w in network.weights])
    outputs, targets = rng.normal(size=(5, 6)).astype(np.float32), rng.normal(size=(7, 6)).astype(np.float32)
    w1, b1 = (np.asarray(v) for v in (network.inner.kernel, network.inner.bias))
    w2, b2 = (np.asarray(v) for v in (network.outer.kernel, network.outer.bias))
    inner = outputs @ w1 + b1
    inner = inner / 2 * (1 + np.vectorize(math.erf)(inner / math.sqrt(2)))
    expected = (inner @ w2 + b2) @ (targets @ np.asarray(network.target.kernel)).T
    assert network.target.bias is None
    np.testing.assert_allclose(np.asarray(network(outputs, targets)), expected, rtol=1e-4, atol=1e-4)


def test_cosines_are_scaled_by_10_at_first_and_by_100_at_most():
    network = CompatibilityNetwork(hidden=6, projection=4, similarity="cosine")
    network.build()
    rng = np.random.default_rng(1)
    outputs, targets = rng.normal(size=(5, 6)).astype(np.float32), rng.normal(size=(7, 6)).astype(np.float32)
    first = np.asarray(network(outputs, targets))
    assert 1.0 < np.abs(first).max() <= 10.0
    network.target.kernel.assign(network.target.kernel * 7.0)
    network.outer.kernel.assign(network.outer.kernel * 0.01)  # its bias is 0
    np.testing.assert_allclose(np.asarray(network(outputs, targets)), first, rtol=1e-4, atol=1e-5)
    network.log_scale.assign(9.0)
    np.testing.assert_allclose(np.asarray(network(outputs, targets)), first * 10.0, rtol=1e-4, atol=1e-4)


def test_standardized_targets_have_no_mean_and_unit_variance_whatever_is_absent():
    x = np.random.default_rng(2).normal(5.0, 3.0, (9, 4)).astype(np.float32)
    np.testing.assert_allclose(np.asarray(standardize(x)), (x - x.mean(0)) / x.std(0), atol=1e-5)
    there = np.array([1, 1, 0, 1, 1, 0, 1, 1, 1], np.float32)
    found = np.asarray(standardize(np.where(there[:, None] > 0, x, 1e3).astype(np.float32), there))[there > 0]
    np.testing.assert_allclose(found, (x[there > 0] - x[there > 0].mean(0)) / x[there > 0].std(0), atol=1e-5)
    assert not np.asarray(standardize(np.ones((3, 2), np.float32))).any()  # nothing to tell apart


def test_logit_std_is_over_what_can_be_drawn_and_the_mean_of_masked_anchors():
    logits = np.array([[1.0, 3.0, 500.0], [7.0, 7.0, 7.0], [0.0, 90.0, 30.0], [0.0, 4.0, 8.0]], np.float32)
    candidates = np.array([[1, 1, 0], [1, 1, 1], [1, 1, 1], [1, 0, 1]], bool)
    # 1 and 3 deviate by 1, equal ones by 0, the third anchor is not masked, 0 and 8 deviate by 4.
    assert float(logit_std(logits, candidates, np.array([1, 1, 0, 1], np.float32))) == pytest.approx(5 / 3)

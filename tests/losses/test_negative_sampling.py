"""Weights and draws of negatives against NumPy restatements of docs/pretraining_objectives.md section 3."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops
from scipy import stats

from pemt_tf.config.training import NEGATIVES
from pemt_tf.losses.negative_sampling import candidate_log_weights, draw_negatives, pairwise_distances

EXCLUDED = -1e29  # anything below stands for "never"


def probabilities(embeddings, groups, method, band=0.95):
    """Probability of each candidate to be drawn first, anchor by anchor, in float64."""
    x = np.asarray(embeddings, np.float64)
    count = len(x)
    result = np.zeros((count, count))
    for anchor in range(count):
        others = [j for j in range(count) if j != anchor]
        if method == "current_sequence":
            others = [j for j in others if groups[j] == groups[anchor]]
        if method in ("mini_batch", "current_sequence"):
            result[anchor, others] = 1 / len(others)
            continue
        distances = np.linalg.norm(x[others] - x[anchor], axis=1)
        scaled = (distances - distances.min()) / (distances.max() - distances.min())
        low, high = np.quantile(scaled, [(1 - band) / 2, (1 + band) / 2])
        weights = 1 - scaled if method == "cans_similar" else scaled
        weights = np.where((scaled >= low) & (scaled <= high), weights, 0.0)
        result[anchor, others] = weights / weights.sum()
    return result


def normalized(log_weights):
    weights = np.exp(np.asarray(log_weights, np.float64))
    return weights / weights.sum(-1, keepdims=True)


@pytest.fixture(scope="module")
def instances():
    """24 instances of 6 clips."""
    rng = np.random.default_rng(3)
    return rng.normal(size=(24, 8)).astype(np.float32), np.repeat(np.arange(6), 4)


def test_pairwise_distances_equal_the_plain_formula(instances):
    x, _ = instances
    expected = np.sqrt(((x[:, None] - x[None]) ** 2).sum(-1))
    off_diagonal = ~np.eye(24, dtype=bool)  # the diagonal, 0 up to cancellation, is never used
    np.testing.assert_allclose(np.asarray(pairwise_distances(x))[off_diagonal], expected[off_diagonal], rtol=1e-5)


@pytest.mark.parametrize("band", [0.95, 0.5, 1.0])
@pytest.mark.parametrize("method", NEGATIVES)
def test_weights_equal_the_specification(instances, method, band):
    x, groups = instances
    log_weights = np.asarray(candidate_log_weights(x, groups, method, band))
    expected = probabilities(x, groups, method, band)
    np.testing.assert_allclose(normalized(log_weights), expected, atol=1e-5)
    assert (np.diag(log_weights) < EXCLUDED).all()
    assert ((log_weights < EXCLUDED) == (expected == 0)).all()


def test_the_middle_95_percent_of_101_candidates_leaves_out_three_at_either_end():
    """Anchor 0 sees distances 1, 2, ..., 101: the quantiles are 1 + 2.5 and 101 - 2.5."""
    x = np.arange(102, dtype=np.float32)[:, None]
    log_weights = np.asarray(candidate_log_weights(x, np.arange(102), "cans_dissimilar"))[0]
    assert np.flatnonzero(log_weights > EXCLUDED).tolist() == list(range(4, 99))
    np.testing.assert_allclose(np.exp(log_weights[4:99]), (np.arange(4, 99) - 1) / 100, atol=1e-5)


@pytest.mark.parametrize("method", ["cans_similar", "cans_dissimilar"])
@pytest.mark.parametrize("scale", [0.0, 1.0, 0.1, 1 / 3])
def test_equally_distant_candidates_are_all_kept_and_equally_likely(method, scale):
    x = (scale * np.eye(9)).astype(np.float32)
    expected = (1 - np.eye(9)) / 8
    np.testing.assert_allclose(normalized(candidate_log_weights(x, np.arange(9), method)), expected, atol=1e-6)


@pytest.mark.parametrize("method", NEGATIVES)
def test_no_gradient_through_the_weights(instances, method):
    x, groups = tf.constant(instances[0]), tf.constant(instances[1])
    with tf.GradientTape() as tape:
        tape.watch(x)
        log_weights = candidate_log_weights(x, groups, method)
        negatives, _ = draw_negatives(log_weights, 3, seed=1)
        total = tf.reduce_sum(log_weights) + tf.reduce_sum(tf.cast(negatives, tf.float32))
    assert tape.gradient(total, x) is None


@settings(deadline=None, max_examples=30)
@given(
    count=st.integers(3, 20), wanted=st.integers(1, 25), seed=st.integers(0, 2**30), method=st.sampled_from(NEGATIVES)
)
def test_draws_are_distinct_allowed_and_as_many_as_can_be(count, wanted, seed, method):
    rng = np.random.default_rng(seed)
    x, groups = rng.normal(size=(count, 4)).astype(np.float32), rng.integers(0, 3, count)
    log_weights = np.asarray(candidate_log_weights(x, groups, method))
    indices, valid = (np.asarray(a) for a in draw_negatives(ops.convert_to_tensor(log_weights), wanted, seed))
    assert indices.shape == valid.shape == (count, min(wanted, count - 1))
    for anchor in range(count):
        allowed = set(np.flatnonzero(log_weights[anchor] > EXCLUDED))
        drawn = indices[anchor][valid[anchor]].tolist()
        assert len(set(drawn)) == len(drawn) == min(wanted, len(allowed), count - 1)
        assert set(drawn) <= allowed - {anchor}


def test_first_and_second_draw_follow_the_weights_without_replacement():
    """20,000 anchors with the same four candidates: chi-square of the first draw, and of ordered pairs."""
    weights = np.array([0.1, 0.2, 0.3, 0.4])
    rows = 20_000
    log_weights = np.full((rows, 6), -1e30, np.float32)
    log_weights[:, :4] = np.log(weights) + 5.0  # unnormalized
    indices, valid = (np.asarray(a) for a in draw_negatives(ops.convert_to_tensor(log_weights), 2, seed=11))
    assert valid.all()
    first = np.bincount(indices[:, 0], minlength=4)
    assert stats.chisquare(first, rows * weights).pvalue > 1e-3
    pairs = {(i, j): weights[i] * weights[j] / (1 - weights[i]) for i in range(4) for j in range(4) if i != j}
    observed = [int(((indices[:, 0] == i) & (indices[:, 1] == j)).sum()) for i, j in pairs]
    assert stats.chisquare(observed, rows * np.array(list(pairs.values()))).pvalue > 1e-3


@pytest.mark.parametrize("method", NEGATIVES)
def test_draws_follow_the_stated_probabilities(instances, method):
    """Chi-square of 20,000 first draws for one anchor; nothing outside of the band, and never the anchor itself."""
    x, groups = instances
    anchor, rows = 7, 20_000
    expected = probabilities(x, groups, method)[anchor]
    log_weights = np.asarray(candidate_log_weights(x, groups, method))[anchor]
    indices, valid = (
        np.asarray(a) for a in draw_negatives(ops.convert_to_tensor(np.tile(log_weights, (rows, 1))), 3, 5)
    )
    counts = np.bincount(indices[:, 0], minlength=24)
    possible = expected > 0
    assert valid.all() and not possible[anchor]
    assert possible.sum() == {"current_sequence": 3, "mini_batch": 23}.get(method, 21)  # one falls out at either end
    assert not set(indices.ravel()) & set(np.flatnonzero(~possible))
    assert (np.diff(np.sort(indices, axis=1), axis=1) > 0).all()
    assert stats.chisquare(counts[possible], rows * expected[possible]).pvalue > 1e-3


def test_draws_differ_from_step_to_step_but_not_for_one_seed():
    log_weights = ops.zeros((50, 50))
    a, b, c = (np.asarray(draw_negatives(log_weights, 5, seed)[0]) for seed in (1, 1, 2))
    assert (a == b).all() and (a != c).any()


@pytest.mark.parametrize("band", [0.95, 0.5, 1.0])
@pytest.mark.parametrize("method", NEGATIVES)
def test_weights_with_absent_instances_equal_the_specification_of_the_present_ones(instances, method, band):
    """Absent instances hold outliers: the nearest, the farthest and the quantiles must not come from them."""
    x, groups = instances[0].copy(), instances[1]
    present = np.ones(24, np.float32)
    present[[0, 5, 6, 13, 22]] = 0  # no clip loses all or all but one
    x[present == 0] *= np.array([[0.01], [40.0], [1.0], [-30.0], [5.0]], np.float32)
    log_weights = np.asarray(candidate_log_weights(x, groups, method, band, present))
    there = np.flatnonzero(present)
    expected = np.zeros((len(there), 24))
    expected[:, there] = probabilities(x[there], groups[there], method, band)
    np.testing.assert_allclose(normalized(log_weights[there]), expected, atol=1e-5)
    assert ((log_weights[there] < EXCLUDED) == (expected == 0)).all()
    assert (log_weights[:, present == 0] < EXCLUDED).all()  # for absent anchors as well


@pytest.mark.parametrize("count", [2, 3, 7, 24, 41])
@pytest.mark.parametrize("method", NEGATIVES)
def test_weights_with_all_instances_present_are_those_without_a_mask(method, count):
    """41 instances: the quantiles of 40 distances stand exactly at whole positions."""
    rng = np.random.default_rng(count)
    x, groups = rng.normal(size=(count, 3)).astype(np.float32), rng.integers(0, 3, count)
    plain = np.asarray(candidate_log_weights(x, groups, method))
    masked = np.asarray(candidate_log_weights(x, groups, method, present=np.ones(count, np.float32)))
    np.testing.assert_array_equal(masked, plain)


@settings(deadline=None, max_examples=40)
@given(count=st.integers(2, 12), seed=st.integers(0, 2**30), method=st.sampled_from(NEGATIVES))
def test_negatives_are_never_absent_and_as_many_as_are_present(count, seed, method):
    rng = np.random.default_rng(seed)
    x, groups = rng.normal(size=(count, 4)).astype(np.float32), rng.integers(0, 3, count)
    present = (rng.random(count) < rng.choice([0.0, 0.2, 0.7])).astype(np.float32)
    log_weights = np.asarray(candidate_log_weights(x, groups, method, 1.0, present))
    indices, valid = (np.asarray(a) for a in draw_negatives(ops.convert_to_tensor(log_weights), count, seed))
    assert np.isfinite(log_weights).all()
    for anchor in range(count):
        drawn = set(indices[anchor][valid[anchor]].tolist())
        others = set(np.flatnonzero(present)) - {anchor}
        assert drawn <= others
        if method == "current_sequence":
            assert drawn == {j for j in others if groups[j] == groups[anchor]}
        elif method == "mini_batch":
            assert drawn == others
        else:  # the least likely one, if there are others, has weight 0
            assert len(drawn) == len(others) - (len(others) > 1)

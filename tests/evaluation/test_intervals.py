"""Intervals of shares, against figures from elsewhere, by hand, and by how often they hold the truth."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize

from pemt_tf.evaluation.intervals import MeasuredShare, bootstrap_interval, measure_shares, wilson_interval


@pytest.mark.parametrize(
    ("correct", "total", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),  # Newcombe (1998), Statistics in Medicine 17, table I, method 3
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_interval_of_the_literature(correct, total, low, high):
    assert wilson_interval(correct, total) == pytest.approx((low, high), abs=5e-5)


@given(total=st.integers(1, 3000), share=st.floats(0, 1))
def test_wilson_interval_solves_its_defining_equation(total, share):
    """Its ends are the proportions p that lie 1.96 of their own standard errors from the observed share."""
    correct = round(share * total)
    low, high = wilson_interval(correct, total)
    observed = correct / total
    assert 0 <= low <= observed + 1e-12 and observed - 1e-12 <= high <= 1

    def distance(p):
        return (observed - p) ** 2 - 1.959963984540054**2 * p * (1 - p) / total

    if 0 < correct < total:
        assert low == pytest.approx(optimize.brentq(distance, 0, observed), abs=1e-9)
        assert high == pytest.approx(optimize.brentq(distance, observed, 1), abs=1e-9)


def test_bootstrap_of_two_clips_by_hand():
    """One of two is right: resamples have share 0, 1/2, 1 with probability 1/4, 1/2, 1/4."""
    assert bootstrap_interval(np.array([[1], [0]]), np.arange(2)) == [(0.0, 1.0)]


def test_bootstrap_of_independent_clips_is_the_binomial_distribution():
    """30 of 100: quantiles of Binomial(100, 0.3) / 100 at 2.5 % and 97.5 % are 0.21 and 0.39."""
    values = (np.arange(100) < 30)[:, None]
    ((low, high),) = bootstrap_interval(values, np.arange(100), seed=3)
    assert low == pytest.approx(0.21, abs=0.0101) and high == pytest.approx(0.39, abs=0.0101)


def test_columns_share_the_draws_and_the_seed_decides(monkeypatch):
    values = np.random.default_rng(0).random((40, 2))
    groups = np.arange(40) // 3
    both = bootstrap_interval(np.concatenate([values, values[:, :1]], axis=1), groups, seed=1, resamples=500)
    assert both[0] == both[2] != both[1]
    assert both[:2] == bootstrap_interval(values, groups, seed=1, resamples=500)
    assert both[:2] != bootstrap_interval(values, groups, seed=2, resamples=500)
    monkeypatch.setattr("pemt_tf.evaluation.intervals._DRAWS_AT_ONCE", 50)  # in blocks of three resamples
    assert both[:2] == bootstrap_interval(values, groups, seed=1, resamples=500)


def test_groups_are_drawn_whole():
    """Files of 1, 2 and 3 clips, one value each: the 27 means of three files, written out."""
    values = np.array([[6.0], [0], [0], [2], [2], [2]])
    groups = np.array(["a", "b", "b", "c", "c", "c"])
    files = [(6.0, 1), (0.0, 2), (6.0, 3)]
    means = [
        sum(f[0] for f in d) / sum(f[1] for f in d) for d in np.array(files)[np.indices((3,) * 3).reshape(3, -1).T]
    ]
    expected = np.quantile(np.repeat(means, 1000), [0.025, 0.975])
    assert bootstrap_interval(values, groups) == [pytest.approx(expected)]


def coverage(draw, truth, interval, repeats=300):
    """How often an interval holds the truth."""
    held = 0
    for repeat in range(repeats):
        low, high = interval(*draw(np.random.default_rng(repeat)))
        held += low <= truth <= high
    return held / repeats


def independent(rng):
    return rng.random(80) < 0.7, np.arange(80)


def clustered(rng):
    """30 files of 8 clips; a file's clips are nearly all right or nearly all wrong."""
    chance = rng.choice([0.95, 0.15], size=30, p=[0.6, 0.4])  # mean 0.63
    return (rng.random((30, 8)) < chance[:, None]).ravel(), np.repeat(np.arange(30), 8)


def by_file(hits, groups):
    return bootstrap_interval(hits[:, None], groups, resamples=400)[0]


def by_clip(hits, groups):
    return bootstrap_interval(hits[:, None], np.arange(len(hits)), resamples=400)[0]


def test_coverage_of_the_bootstrap():
    """95 % within the error of 300 repeats (1.3 %) and the known slight optimism of the percentile method."""
    assert 0.90 <= coverage(independent, 0.7, by_file) <= 0.98
    assert 0.89 <= coverage(clustered, 0.63, by_file) <= 0.98


def test_clips_of_one_file_are_no_independent_evidence():
    assert coverage(clustered, 0.63, by_clip) < 0.70


def test_shares():
    hits = np.array([[True, True], [False, True], [True, True], [False, True]])
    half, all_right = measure_shares(hits, np.arange(4))
    assert (half.value, all_right.value) == (0.5, 1.0)
    assert half.wilson == pytest.approx((0.15003, 0.84997), abs=1e-5)
    assert all_right.bootstrap == (1.0, 1.0)  # of no width; Wilson's is the honest one
    assert all_right.wilson == pytest.approx((0.51010, 1.0), abs=1e-5)
    assert MeasuredShare(0.5, (0.2, 0.8), (0.1, 0.7)).cautious == (0.1, 0.8)

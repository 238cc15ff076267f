"""Figures of many labels: equal to scikit-learn's, also with ties, and defined where a label has no such clips."""

import math

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from pemt_tf.evaluation.ranking import (
    Ranking,
    bootstrap_mean_average_precision,
    d_prime,
    mean_average_precision,
    rank_labels,
)


def random_scores(seed: int, clips: int = 200, labels: int = 7) -> tuple[np.ndarray, np.ndarray]:
    """Scores of 12 values only, so that most are tied across both kinds of clips, and labels of all frequencies."""
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 12, (clips, labels)) / 11
    return scores, rng.random((clips, labels)) < np.linspace(0.02, 0.9, labels)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("tied", [True, False])
def test_mean_average_precision_and_auc_are_scikit_learns(seed, tied):
    scores, truth = random_scores(seed)
    if not tied:
        scores = np.random.default_rng(seed).random(scores.shape)
    truth[:2] = [[False] * 7, [True] * 7]
    found = rank_labels(scores, truth, list("abcdefg"))
    expected = average_precision_score(truth, scores, average=None)
    assert [row["average_precision"] for row in found.per_class] == pytest.approx(list(expected), abs=1e-9)
    assert found.mean_average_precision == pytest.approx(average_precision_score(truth, scores), abs=1e-9)
    assert mean_average_precision(scores, truth) == found.mean_average_precision
    assert found.auc == pytest.approx(roc_auc_score(truth, scores), abs=1e-9)
    assert found.chance == pytest.approx(truth.mean(), abs=1e-12)
    assert [row["clips"] for row in found.per_class] == truth.sum(axis=0).tolist()


def test_average_precision_by_hand():
    """Ranked 1 0 1 0: precisions at the two positives are 1 and 2/3. All scores equal: the share of positives."""
    assert Ranking(np.array([0.9, 0.8, 0.7, 0.6]), np.array([1, 0, 1, 0])).average_precision() == pytest.approx(5 / 6)
    assert Ranking(np.zeros(4), np.array([1, 0, 0, 0])).average_precision() == 0.25
    assert Ranking(np.array([0.9, 0.8, 0.7, 0.6]), np.array([1, 0, 1, 0])).auc() == 0.75
    assert Ranking(np.zeros(4), np.array([1, 0, 0, 0])).auc() == 0.5


def test_weights_count_a_clip_as_often():
    scores, truth = (columns[:, 3:4] for columns in random_scores(1, clips=30))
    times = np.random.default_rng(2).integers(0, 4, 30)
    repeated = np.repeat(scores[:, 0], times), np.repeat(truth[:, 0], times)
    weighted = Ranking(scores[:, 0], truth[:, 0]).average_precision(np.stack([times, np.ones(30)]))
    assert weighted[0] == pytest.approx(average_precision_score(*repeated[::-1]), abs=1e-9)
    assert weighted[1] == pytest.approx(average_precision_score(truth[:, 0], scores[:, 0]), abs=1e-9)


def test_labels_without_a_positive_or_a_negative_clip_are_counted_and_not_part_of_the_mean():
    truth = np.array([[1, 0, 1], [0, 0, 1], [1, 0, 1]], bool)
    scores = np.array([[0.9, 0.1, 0.3], [0.5, 0.2, 0.2], [0.1, 0.3, 0.1]])
    found = rank_labels(scores, truth, ["some", "none", "all"])
    assert (found.without_positive, found.without_negative) == (1, 1)
    some, none, every = found.per_class
    assert some["average_precision"] == pytest.approx((1 + 2 / 3) / 2) and some["auc"] == 0.5 and some["d_prime"] == 0
    assert (none["clips"], none["average_precision"], none["auc"], none["d_prime"]) == (0, None, None, None)
    assert (every["average_precision"], every["auc"], every["d_prime"]) == (1.0, None, None)
    assert found.mean_average_precision == pytest.approx((5 / 6 + 1) / 2)
    assert found.auc == 0.5 and found.chance == pytest.approx((2 / 3 + 1) / 2)
    assert mean_average_precision(scores, np.zeros((3, 3), bool)) is None


def test_d_prime_is_the_distance_of_two_normal_distributions():
    """AUC = Phi(d / sqrt 2), and Phi(x) = (1 + erf(x / sqrt 2)) / 2."""
    for distance in (-1.0, 0.5, 2.0, 3.3):
        assert d_prime((1 + math.erf(distance / 2)) / 2) == pytest.approx(distance, abs=1e-9)
    assert [d_prime(value) for value in (0.0, 1.0, None)] == [None, None, None]


def test_the_interval_holds_the_value_and_widens_where_clips_share_a_file():
    rng = np.random.default_rng(0)
    files = np.repeat(np.arange(40), 5)
    truth = (rng.random((40, 3)) < 0.4)[files]
    scores = (truth + rng.normal(0, 1, (40, 3))[files]).round(1)
    value = mean_average_precision(scores, truth)
    (low, high), resamples = bootstrap_mean_average_precision(scores, truth, files, seed=1)
    (narrow_low, narrow_high), _ = bootstrap_mean_average_precision(scores, truth, np.arange(200), seed=1)
    assert resamples == 1000 and low < value < high
    assert high - low > 1.5 * (narrow_high - narrow_low)
    assert bootstrap_mean_average_precision(scores, truth, files, seed=1)[0] == (low, high)
    one = np.arange(200)[:, None] == 7  # a third of the resamples has no positive clip at all
    (low, high), _ = bootstrap_mean_average_precision(-np.arange(200.0)[:, None], one, np.arange(200))
    assert 0 < low < 1 / 8 < high <= 1

"""Calibration figures on numbers worked out by hand."""

import numpy as np
import pytest

from pemt_tf.evaluation.calibration import calibration


def test_by_hand():
    """Five clips, two bins of use: (0.5, 0.75] has 0.6 right and 0.7 wrong, (0.75, 1] has 0.8, 0.9, 1.0 right, wrong,
    right. |1/2 - 0.65| * 2/5 + |2/3 - 0.9| * 3/5 = 0.06 + 0.14 = 0.2."""
    p = np.array([0.6, 0.7, 0.8, 0.9, 1.0])
    probabilities = np.stack([p, 1 - p], axis=1)
    truth = np.array([0, 1, 0, 1, 0])
    result = calibration(probabilities, truth, bins=4)
    assert result["expected_calibration_error"] == pytest.approx(0.2)
    empty = {"clips": 0, "confidence": None, "accuracy": None}
    assert result["bins"][:2] == [{"low": 0.0, "high": 0.25, **empty}, {"low": 0.25, "high": 0.5, **empty}]
    third, fourth = result["bins"][2:]
    assert third == {"low": 0.5, "high": 0.75, "clips": 2, "confidence": pytest.approx(0.65), "accuracy": 0.5}
    assert fourth == {
        "low": 0.75,
        "high": 1.0,
        "clips": 3,
        "confidence": pytest.approx(0.9),
        "accuracy": pytest.approx(2 / 3),
    }
    # Two classes: twice the squared error of one of them.
    assert result["brier"] == pytest.approx(2 * (0.16 + 0.49 + 0.04 + 0.81 + 0.0) / 5)
    assert result["negative_log_likelihood"] == pytest.approx(-np.log([0.6, 0.3, 0.8, 0.1, 1.0]).mean())


def test_borders_belong_to_the_bin_below_and_there_are_fifteen():
    probabilities = np.array([[0.2, 0.2, 0.2, 0.2, 0.2], [1.0, 0, 0, 0, 0]])
    result = calibration(probabilities, np.array([0, 0]))
    assert [b["clips"] for b in result["bins"]] == [0, 0, 1] + 11 * [0] + [1]  # 0.2 = 3 / 15


def test_a_certain_error_is_large_but_finite():
    result = calibration(np.array([[1.0, 0.0]]), np.array([1]))
    assert result["expected_calibration_error"] == 1.0 and result["brier"] == 2.0
    assert result["negative_log_likelihood"] == pytest.approx(12 * np.log(10))


def test_a_perfectly_calibrated_source():
    """Labels drawn from the stated probabilities: the error is that of 20,000 draws over 15 bins only."""
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(3), 20_000)
    truth = (rng.random((20_000, 1)) > probabilities.cumsum(axis=1)).sum(axis=1)
    assert calibration(probabilities, truth)["expected_calibration_error"] < 0.015
    overconfident = probabilities**3 / (probabilities**3).sum(axis=1, keepdims=True)
    assert calibration(overconfident, truth)["expected_calibration_error"] > 0.1

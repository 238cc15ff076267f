"""Means and deviations over the rows that count."""

import numpy as np
import pytest
from keras import ops

from pemt_tf.losses.masked_statistics import effective_rank, masked_mean, masked_std


@pytest.fixture
def values():
    return np.random.default_rng(1).normal(2.0, 3.0, (12, 5)).astype(np.float32)


def test_statistics_are_those_of_the_counted_rows(values):
    mask = np.array([1, 0, 0, 1, 1, 0, 1, 1, 1, 0, 1, 0], np.float32)
    rows = values[mask > 0].astype(np.float64)
    values[mask == 0] = 1e3
    x, mask = ops.convert_to_tensor(values), ops.convert_to_tensor(mask)
    assert float(masked_mean(x, mask)) == pytest.approx(rows.mean(), rel=1e-5)
    np.testing.assert_allclose(np.asarray(masked_mean(x, mask, axis=0)), rows.mean(0), rtol=1e-5)
    np.testing.assert_allclose(np.asarray(masked_std(x, mask)), rows.std(0), rtol=1e-5)


def test_all_rows_counted_gives_the_bits_of_the_plain_statistics(values):
    """12 rows: dividing a sum by 60 and adding sixtieths round differently."""
    x, ones = ops.convert_to_tensor(values), ops.ones((12,))
    for axis in (0, None):
        np.testing.assert_array_equal(np.asarray(masked_mean(x, ones, axis)), np.asarray(ops.mean(x, axis=axis)))
    np.testing.assert_array_equal(np.asarray(masked_std(x, ones)), np.asarray(ops.std(x, axis=0)))


def test_no_row_counted_gives_zero(values):
    assert float(masked_mean(ops.convert_to_tensor(values), ops.zeros((12,)))) == 0.0
    assert not np.asarray(masked_std(ops.convert_to_tensor(values), ops.zeros((12,)))).any()


def test_effective_rank_is_the_participation_ratio_of_the_eigenvalues(values):
    line = np.outer(np.arange(12.0), [1, -2, 3, 0, 5]).astype(np.float32) + 7
    assert float(effective_rank(ops.convert_to_tensor(line))) == pytest.approx(1.0)
    axes = np.concatenate([np.eye(5), -np.eye(5)]).astype(np.float32) * 0.03
    assert float(effective_rank(ops.convert_to_tensor(axes))) == pytest.approx(5.0)
    axes[:, 0] *= 2  # variances in proportion 4 to 1 to 1 to 1 to 1: 8 squared by 20
    assert float(effective_rank(ops.convert_to_tensor(axes))) == pytest.approx(3.2, rel=1e-5)
    assert float(effective_rank(ops.ones((4, 3)))) == 0.0


def test_effective_rank_is_that_of_the_counted_rows(values):
    mask = np.array([1, 0, 0, 1, 1, 0, 1, 1, 1, 0, 1, 0], np.float32)
    eigenvalues = np.linalg.eigvalsh(np.cov(values[mask > 0].T.astype(np.float64)))
    values[mask == 0] = 1e3
    found = float(effective_rank(ops.convert_to_tensor(values), ops.convert_to_tensor(mask)))
    assert found == pytest.approx(eigenvalues.sum() ** 2 / (eigenvalues**2).sum(), rel=1e-4)
    assert float(effective_rank(ops.convert_to_tensor(values), ops.zeros((12,)))) == 0.0

"""Means and deviations over the rows that count."""

import numpy as np
import pytest
from keras import ops

from pemt_tf.losses.masked_statistics import masked_mean, masked_std


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

"""The summary token, plain and with the mean of the sequence."""

import math

import numpy as np
import pytest

from pemt_tf.layers.summary_token import SummaryToken, sinusoidal_positions
from tests.golden import assert_close
from tests.layer_contract import assert_layer_contract


@pytest.fixture
def tokens():
    return np.random.default_rng(0).normal(size=(2, 3, 6)).astype(np.float32)


def test_prepends_the_token(tokens):
    layer = SummaryToken(6)
    layer.build()
    y = np.asarray(layer(tokens))
    np.testing.assert_array_equal(y[:, 1:], tokens)
    np.testing.assert_array_equal(y[:, 0], np.tile(layer.token.numpy(), (2, 1)))


@pytest.mark.parametrize("mask", [None, [[1, 1, 1], [1, 0, 0]]], ids=["all", "masked"])
def test_mean_is_over_the_segments_that_are_there(tokens, mask):
    layer = SummaryToken(6, mean_pooled=True)
    layer.build()
    code = np.array([[f(p / 10_000 ** (2 * k / 6)) for k in range(3) for f in (math.sin, math.cos)] for p in range(3)])
    weights = np.ones((2, 3)) if mask is None else np.array(mask, float)
    mean = ((tokens + code) * weights[..., None]).sum(1) / weights.sum(1, keepdims=True)
    summed = layer.token.numpy() + mean
    expected = (summed - summed.mean(-1, keepdims=True)) / summed.std(-1, keepdims=True)
    y = layer(tokens, mask=None if mask is None else np.array(mask, np.float32))
    assert_close(np.asarray(y)[:, 0], expected)


def test_a_sequence_without_segments_stays_finite(tokens):
    layer = SummaryToken(6, mean_pooled=True)
    layer.build()
    assert np.isfinite(layer(tokens, mask=np.zeros((2, 3), np.float32))).all()


def test_odd_widths_end_with_a_sine():
    table = sinusoidal_positions(2, 5)
    np.testing.assert_allclose(
        table[1],
        [
            math.sin(1),
            math.cos(1),
            *(f(10_000 ** (-2 / 5)) for f in (math.sin, math.cos)),
            math.sin(10_000 ** (-4 / 5)),
        ],
        rtol=1e-6,
    )


@pytest.mark.parametrize("mean_pooled", [False, True])
def test_contract(tmp_path, tokens, mean_pooled):
    def make(**arguments):
        return SummaryToken(6, mean_pooled, **arguments)

    assert_layer_contract(make, tokens, tmp_path)

"""Weights that are stored smaller: their size, their rounding, and what is left alone."""

import keras
import numpy as np
import pytest

from pemt_tf.export.weight_storage import StoredWeights

RNG = np.random.default_rng(0)
KERNEL = RNG.normal(0, [[0.001, 1.0, 100.0, 0.0] * 16], (80, 64)).astype(np.float32)
BIAS = RNG.normal(0, 1, 64).astype(np.float32)


@pytest.fixture
def dense():
    layer = keras.layers.Dense(64)
    layer.build((None, 80))
    layer.set_weights([KERNEL, BIAS])
    return layer


def widened(layer, kind):
    """Kernel and bias as they are within the scope."""
    with StoredWeights(layer, kind).scope(layer.variables):
        return [keras.ops.convert_to_numpy(variable) for variable in layer.variables]


def test_float32_is_as_it_is(dense):
    for found, given in zip(widened(dense, "float32"), (KERNEL, BIAS), strict=True):
        np.testing.assert_array_equal(found, given)


def test_float16_rounds_each_number(dense):
    kernel, bias = widened(dense, "float16")
    np.testing.assert_array_equal(kernel, KERNEL.astype(np.float16).astype(np.float32))
    np.testing.assert_array_equal(bias, BIAS)


def test_float16_keeps_large_numbers_finite(dense):
    large = np.array(KERNEL)
    large[0, 0] = -1e6
    dense.set_weights([large, BIAS])
    assert widened(dense, "float16")[0][0, 0] == -65504


def test_int8_has_a_step_for_every_channel(dense):
    """127 steps up to the largest number of each column, however different the columns are; zeros stay zeros."""
    kernel, bias = widened(dense, "int8")
    step = np.abs(KERNEL).max(axis=0) / 127
    assert (np.abs(kernel - KERNEL) <= step * 0.5001).all()
    assert (np.abs(kernel - KERNEL).max(axis=0)[step > 0] > step[step > 0] * 0.2).all()
    np.testing.assert_array_equal(kernel[:, 3::4], 0.0)
    np.testing.assert_array_equal(bias, BIAS)


@pytest.mark.parametrize(("kind", "bits"), [("float16", "float16"), ("int8", "int8")])
def test_what_is_stored(dense, kind, bits):
    ((codes, scale),) = StoredWeights(dense, kind)._replaced.values()
    assert codes.dtype.name == bits and codes.shape == (80, 64)
    assert (scale is None) == (kind == "float16")
    assert scale is None or (scale.dtype.name, scale.shape) == ("float32", (64,))


def test_small_weights_are_left_alone():
    layer = keras.layers.Dense(8)
    layer.build((None, 100))
    assert not StoredWeights(layer, "int8")._replaced


def test_the_model_itself_does_not_change(dense):
    widened(dense, "int8")
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(dense.kernel), KERNEL)

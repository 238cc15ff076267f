"""Convolutions with the reference's padding, against a plain sum over the kernel in NumPy."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from pemt_tf.device_choices import kernels
from pemt_tf.layers.folded_conv import FoldedConv
from tests.layer_contract import assert_layer_contract

# Every kernel and stride of both ResNets: stems, temporal, spatial and full kernels, strided and not.
VIDEO = [
    ((5, 7, 7), (2, 2, 2)),
    ((1, 1, 1), (1, 1, 1)),
    ((1, 1, 1), (1, 2, 2)),
    ((3, 1, 1), (1, 1, 1)),
    ((1, 3, 3), (1, 1, 1)),
    ((1, 3, 3), (1, 2, 2)),
    ((3, 3, 3), (1, 2, 2)),
]
IMAGE = [((9, 1), (1, 1)), ((1, 9), (1, 1)), ((1, 1), (2, 2)), ((3, 1), (2, 1)), ((1, 3), (1, 2)), ((3, 3), (2, 2))]


def convolve(x: np.ndarray, kernel: np.ndarray, strides: tuple[int, ...]) -> np.ndarray:
    """Zero padding of kernel // 2 on every side, then the sum over kernel positions."""
    sides = kernel.shape[:-2]
    padded = np.pad(x.astype(np.float64), ((0, 0), *((k // 2, k // 2) for k in sides), (0, 0)))
    sizes = [(n + 2 * (k // 2) - k) // s + 1 for n, k, s in zip(x.shape[1:-1], sides, strides, strict=True)]
    total = 0.0
    for position in itertools.product(*(range(k) for k in sides)):
        window = tuple(slice(p, p + (n - 1) * s + 1, s) for p, n, s in zip(position, sizes, strides, strict=True))
        total = total + padded[(slice(None), *window)] @ kernel[position].astype(np.float64)
    return total


@pytest.mark.parametrize("kernel, strides", VIDEO + IMAGE)
@pytest.mark.parametrize("size", [7, 8])
@pytest.mark.parametrize("path", ["cpu", "gpu"])
def test_equals_a_plain_sum(kernel, strides, size, path):
    random = np.random.default_rng(0)
    x = random.normal(size=(2, *(size + axis for axis in range(len(kernel))), 3)).astype(np.float32)
    layer = FoldedConv(4, kernel, strides)
    layer.build(x.shape)
    with kernels(path):
        y = np.asarray(layer(x))
    expected = convolve(x, layer.kernel.numpy(), strides)
    assert y.shape == expected.shape == tuple(layer.compute_output_shape(x.shape))
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kernel, strides", VIDEO + IMAGE)
@pytest.mark.parametrize("path", ["cpu", "gpu"])
def test_kernel_gradient_equals_a_plain_sum(kernel, strides, path):
    # Few channels and an even size: here TensorFlow's own strided 1 x 1 convolution writes outside its buffers.
    random = np.random.default_rng(0)
    x = random.normal(size=(2, *(20,) * len(kernel), 2)).astype(np.float32)
    layer = FoldedConv(2, kernel, strides)
    layer.build(x.shape)
    with kernels(path), tf.GradientTape() as tape:
        y = layer(x)
        cotangent = random.normal(size=y.shape).astype(np.float32)
        loss = tf.reduce_sum(y * cotangent)
    gradient = tape.gradient(loss, layer.kernel).numpy()
    # The derivative by one kernel entry is the output of the kernel that has a 1 there and 0 elsewhere.
    for _ in range(5):
        entry = tuple(random.integers(side) for side in layer.kernel.shape)
        unit = np.zeros(layer.kernel.shape, np.float32)
        unit[entry] = 1.0
        expected = (convolve(x, unit, strides) * cotangent).sum()
        assert float(gradient[entry]) == pytest.approx(expected, abs=1e-4 * float(np.abs(gradient).max()))


@pytest.mark.parametrize("path", ["cpu", "gpu"])
@pytest.mark.parametrize("kernel, strides", [case for case in VIDEO if case[1][0] == 1])
def test_frames_may_come_as_images(kernel, strides, path):
    x = np.random.default_rng(0).normal(size=(2, 5, 7, 8, 3)).astype(np.float32)
    layer = FoldedConv(4, kernel, strides)
    layer.build(x.shape)
    expected = convolve(x, layer.kernel.numpy(), strides)
    with kernels(path):
        y = layer(x.reshape(10, 7, 8, 3), frames=5)
    np.testing.assert_allclose(y, expected.reshape(10, *expected.shape[2:]), rtol=0, atol=1e-5)


def test_initial_deviation_is_he_normal_over_the_fan_out():
    layer = FoldedConv(64, (1, 3, 3))
    layer.build((None, None, None, None, 64))
    assert layer.kernel.numpy().std() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.02)


@pytest.mark.parametrize("kernel, strides", [((1, 3, 3), (1, 2, 2)), ((3, 1, 1), (1, 1, 1)), ((3, 3), (2, 2))])
def test_contract(tmp_path, kernel, strides):
    def make(**arguments):
        return FoldedConv(3, kernel, strides, **arguments)

    x = np.random.default_rng(0).normal(size=(2, *(5,) * len(kernel), 2)).astype(np.float32)
    assert_layer_contract(make, x, tmp_path, build_shape=(*(None,) * (len(kernel) + 1), 2))

"""The visual CNN against the golden file, at all depths, and against its shapes."""

import numpy as np
import pytest
import tensorflow as tf

from pemt_tf.convert.checkpoint_converter import assign_reference_weights
from pemt_tf.models.visual_resnet3d import VisualResNet3D
from tests.golden import Golden, assert_close
from tests.layer_contract import assert_layer_contract


def test_every_stage_equals_the_reference():
    golden = Golden("visual_resnet_w8")
    cnn = VisualResNet3D(50, 8)
    cnn.build()
    report = assign_reference_weights(cnn, golden.weights)
    assert set(report.assigned) == set(golden.weights)
    frames = np.moveaxis(golden["in/x"], 1, -1)
    for stage, maps in enumerate(cnn.feature_maps(frames), 1):
        maps = np.moveaxis(np.asarray(maps), -1, 1)
        assert list(maps.shape) == golden[f"out64/s{stage}_shape"].tolist()
        assert_close(maps.mean((0, 2, 3, 4), dtype=np.float64), golden[f"out64/s{stage}_mean"])
        assert_close(maps[:, :, :2, :2, :3], golden[f"out64/s{stage}_corner"])
    assert_close(maps, golden["out64/s5"])
    assert_close(cnn(frames), golden["out64/pooled"])


@pytest.mark.parametrize("size", [112, 128])
def test_shapes_are_those_of_the_paper(size):
    cnn = VisualResNet3D(50, 1)
    cnn.build()
    shapes = [tuple(m.shape[1:]) for m in cnn.feature_maps(np.zeros((1, 32, size, size, 3), np.float32))]
    sides = {112: (28, 28, 14, 7, 4), 128: (32, 32, 16, 8, 4)}[size]
    assert shapes == [(16, side, side, channels) for side, channels in zip(sides, (1, 4, 8, 16, 32), strict=True)]


def gradient_of_first_maxima(x, upstream):
    """Of 3 x 3 windows at stride 2 with a border of 1: each gradient goes to the first maximum, row by row."""
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-np.inf)
    gradient = np.zeros_like(padded)
    for index in np.ndindex(*upstream.shape):
        batch, time, row, column, channel = index
        window = padded[batch, time, 2 * row : 2 * row + 3, 2 * column : 2 * column + 3, channel]
        down, right = np.unravel_index(window.argmax(), (3, 3))
        gradient[batch, time, 2 * row + down, 2 * column + right, channel] += upstream[index]
    return gradient[:, :, 1:-1, 1:-1]


@pytest.mark.parametrize("traced", [False, True])
@pytest.mark.parametrize("step", [0.0, 1e-7, 3e-6, 0.5])  # between the values of a window; 0: all are equal
def test_the_pooling_of_the_stem_has_one_gradient_per_window(traced, step):
    """Behind a stem and a norm that pass values on: equal and nearly equal neighbours share no gradient."""
    numbers = np.random.default_rng(0)
    x = (1.0 + step * numbers.integers(0, 5, (2, 3, 7, 8, 3))).astype(np.float32)
    cnn = VisualResNet3D(18, 3)
    cnn.build()
    cnn.stem = lambda frames: frames
    cnn.stem_norm = type("Norm", (), {"normalize": staticmethod(lambda x, training: (x, None))})()

    def gradient(x, upstream):
        with tf.GradientTape() as tape:
            tape.watch(x)
            pooled, _ = cnn._start(x, training=True)
        return tape.gradient(pooled, x, upstream)

    upstream = numbers.normal(size=(2, 3, 4, 4, 3)).astype(np.float32)
    actual = (tf.function(gradient) if traced else gradient)(tf.constant(x), tf.constant(upstream))
    np.testing.assert_allclose(actual, gradient_of_first_maxima(x, upstream), rtol=0, atol=1e-6)


def test_contract(tmp_path):
    def make(**arguments):
        return VisualResNet3D(18, 2, **arguments)

    frames = np.random.default_rng(0).normal(size=(2, 4, 32, 32, 3)).astype(np.float32)
    assert_layer_contract(make, frames, tmp_path, bfloat16_tolerance=0.2)

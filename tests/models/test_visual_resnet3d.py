"""The visual CNN against the golden file, at all depths, and against its shapes."""

import numpy as np
import pytest

from pemt_tf.export.checkpoint_converter import assign_reference_weights
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


def test_contract(tmp_path):
    def make(**arguments):
        return VisualResNet3D(18, 2, **arguments)

    frames = np.random.default_rng(0).normal(size=(2, 4, 32, 32, 3)).astype(np.float32)
    assert_layer_contract(make, frames, tmp_path, bfloat16_tolerance=0.2)

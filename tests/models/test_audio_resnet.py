"""The audio CNN against the golden file, at all depths, and against its shapes."""

import numpy as np

from pemt_tf.convert.checkpoint_converter import assign_reference_weights
from pemt_tf.models.audio_resnet import AudioResNet
from tests.golden import Golden, assert_close
from tests.layer_contract import assert_layer_contract


def test_every_stage_equals_the_reference():
    golden = Golden("audio_resnet_w8")
    cnn = AudioResNet(50, 8)
    cnn.build()
    report = assign_reference_weights(cnn, golden.weights)
    assert set(report.assigned) == set(golden.weights)
    log_mel = np.moveaxis(golden["in/x"], 1, -1)
    for stage, maps in enumerate(cnn.feature_maps(log_mel), 1):
        maps = np.moveaxis(np.asarray(maps), -1, 1)
        assert list(maps.shape) == golden[f"out64/s{stage}_shape"].tolist()
        assert_close(maps.mean((0, 2, 3), dtype=np.float64), golden[f"out64/s{stage}_mean"])
        assert_close(maps[:, :, :2, :3], golden[f"out64/s{stage}_corner"])
    assert_close(maps, golden["out64/s5"])
    assert_close(cnn(log_mel), golden["out64/pooled"])


def test_shapes_are_those_of_the_paper():
    cnn = AudioResNet(50, 1)
    cnn.build()
    shapes = [tuple(m.shape[1:]) for m in cnn.feature_maps(np.zeros((1, 80, 128, 1), np.float32))]
    assert shapes == [(80, 128, 1), (40, 64, 4), (20, 32, 8), (10, 16, 16), (5, 8, 32)]


def test_contract(tmp_path):
    def make(**arguments):
        return AudioResNet(18, 2, **arguments)

    log_mel = np.random.default_rng(0).normal(size=(2, 32, 48, 1)).astype(np.float32)
    assert_layer_contract(make, log_mel, tmp_path, bfloat16_tolerance=0.2)

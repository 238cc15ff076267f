"""Batch norm: normalization by the biased variance, running statistics with the unbiased one."""

import subprocess
import sys

import numpy as np
import pytest

from pemt_tf.convert.checkpoint_converter import assign_reference_weights
from pemt_tf.layers.batch_normalization import BatchNormalization
from tests.golden import Golden, assert_close
from tests.layer_contract import assert_layer_contract


def golden_layer(kind: str):
    golden = Golden("batchnorm_train")
    inputs = golden.section(f"in/{kind}/")
    x = np.moveaxis(inputs.pop("x"), 1, -1)
    layer = BatchNormalization()
    layer.build(x.shape)
    assign_reference_weights(layer, inputs)
    return golden, layer, x


@pytest.mark.parametrize("kind", ["bn2d", "bn3d"])
def test_training_step_equals_the_reference(kind):
    golden, layer, x = golden_layer(kind)
    assert_close(np.moveaxis(np.asarray(layer(x, training=True)), -1, 1), golden[f"out/{kind}/y"])
    assert_close(layer.moving_mean, golden[f"out/{kind}/running_mean"])
    assert_close(layer.moving_variance, golden[f"out/{kind}/running_var"])


@pytest.mark.parametrize("kind", ["bn2d", "bn3d"])
def test_evaluation_uses_and_keeps_the_running_statistics(kind):
    golden, layer, x = golden_layer(kind)
    mean, variance, gain, offset = (
        golden[f"in/{kind}/{name}"].astype(np.float64) for name in ("running_mean", "running_var", "weight", "bias")
    )
    assert_close(layer(x, training=False), (x - mean) / np.sqrt(variance + 1e-5) * gain + offset)
    np.testing.assert_array_equal(layer.moving_mean.numpy(), mean)


def test_a_frozen_layer_uses_running_statistics_in_training():
    _, layer, x = golden_layer("bn2d")
    layer.trainable = False
    expected = np.asarray(layer(x, training=False))
    before = layer.moving_mean.numpy()
    np.testing.assert_array_equal(layer(x, training=True), expected)
    np.testing.assert_array_equal(layer.moving_mean.numpy(), before)


def test_a_single_value_per_channel_stays_finite():
    layer = BatchNormalization()
    layer.build((None, 2))
    np.testing.assert_array_equal(layer(np.array([[3.0, -1.0]], np.float32), training=True), [[0.0, 0.0]])
    assert np.isfinite(layer.moving_variance.numpy()).all()


def test_large_offsets_keep_their_digits_in_half_precision():
    x = (100.0 + np.random.default_rng(0).normal(size=(64, 3))).astype(np.float32)
    layer = BatchNormalization(dtype="mixed_bfloat16")
    layer.build((None, 3))
    layer(x, training=True)
    # 0.1 x the mean of bfloat16 inputs; statistics summed in bfloat16 would be off by whole units.
    assert layer.moving_mean.numpy() == pytest.approx(10.0, abs=0.1)


def test_statistics_keep_their_digits():
    # Offsets of 300 deviations, and 200,000 values per channel: E[x^2] - E[x]^2 in float32 would have no digit left.
    x = (300.0 + np.random.default_rng(0).normal(size=(8, 160, 160, 1))).astype(np.float32)
    layer = BatchNormalization(momentum=0.0)
    layer.build(x.shape)
    layer(x, training=True)
    exact = x.astype(np.float64)
    assert layer.moving_mean.numpy()[0] == pytest.approx(exact.mean(), rel=1e-6)
    assert layer.moving_variance.numpy()[0] == pytest.approx(exact.var(ddof=1), rel=1e-4)


TWO_REPLICAS = """
import numpy as np, tensorflow as tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2)
from pemt_tf.layers.batch_normalization import BatchNormalization

x = np.random.default_rng(0).normal(size=(6, 4, 5, 2)).astype("float32")
x[3:] = 3.0 * x[3:] + 2.0
cotangent = np.cos(np.arange(x.size)).reshape(x.shape).astype("float32")

def train(strategy, shares):
    with strategy.scope():
        layer = BatchNormalization()
        layer.build(x.shape)
    size = len(x) // shares
    def take(array):
        return strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(array[context.replica_id_in_sync_group * size:][:size]))
    def step(inputs, weights):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            y = layer(inputs, training=True)
            loss = tf.reduce_sum(y * weights)
        return y, tape.gradient(loss, inputs)
    results = tf.function(lambda a, b: strategy.run(step, args=(a, b)))(take(x), take(cotangent))
    y, gradient = (np.concatenate([np.asarray(v) for v in strategy.experimental_local_results(r)]) for r in results)
    return y, gradient, layer.moving_mean.numpy(), layer.moving_variance.numpy()

one = train(tf.distribute.OneDeviceStrategy("CPU:0"), 1)
two = train(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]), 2)
for name, a, b in zip(("y", "gradient", "mean", "variance"), one, two):
    np.testing.assert_allclose(b, a, rtol=0, atol=1e-5, err_msg=name)
"""


def test_two_replicas_normalize_by_the_whole_batch():
    run = subprocess.run([sys.executable, "-c", TWO_REPLICAS], capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 0, run.stderr[-2000:]


def test_contract(tmp_path):
    x = np.random.default_rng(0).normal(size=(3, 4, 5, 2)).astype(np.float32)
    assert_layer_contract(BatchNormalization, x, tmp_path, build_shape=(None, None, None, 2))

"""Batch norm: normalization by the biased variance, running statistics with the unbiased one."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from pemt_tf.convert.checkpoint_converter import assign_reference_weights
from pemt_tf.device_choices import kernels
from pemt_tf.layers.batch_normalization import BatchNormalization
from tests.golden import Golden, assert_close
from tests.layer_contract import assert_layer_contract
from tests.traced_step import bytes_moved, elements, running, traced

PATHS = ("cpu", "gpu", "plain")


def golden_layer(kind: str):
    golden = Golden("batchnorm_train")
    inputs = golden.section(f"in/{kind}/")
    x = np.moveaxis(inputs.pop("x"), 1, -1)
    layer = BatchNormalization()
    layer.build(x.shape)
    assign_reference_weights(layer, inputs)
    return golden, layer, x


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("kind", ["bn2d", "bn3d"])
def test_training_step_equals_the_reference(kind, path):
    golden, layer, x = golden_layer(kind)
    with kernels(path):
        y = layer(x, training=True)
    assert_close(np.moveaxis(np.asarray(y), -1, 1), golden[f"out/{kind}/y"])
    assert_close(layer.moving_mean, golden[f"out/{kind}/running_mean"])
    assert_close(layer.moving_variance, golden[f"out/{kind}/running_var"])


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("kind", ["bn2d", "bn3d"])
def test_evaluation_uses_and_keeps_the_running_statistics(kind, path):
    golden, layer, x = golden_layer(kind)
    mean, variance, gain, offset = (
        golden[f"in/{kind}/{name}"].astype(np.float64) for name in ("running_mean", "running_var", "weight", "bias")
    )
    with kernels(path):
        y = layer(x, training=False)
    assert_close(y, (x - mean) / np.sqrt(variance + 1e-5) * gain + offset)
    np.testing.assert_array_equal(layer.moving_mean.numpy(), mean)


def test_a_frozen_layer_uses_running_statistics_in_training():
    _, layer, x = golden_layer("bn2d")
    layer.trainable = False
    expected = np.asarray(layer(x, training=False))
    before = layer.moving_mean.numpy()
    np.testing.assert_array_equal(layer(x, training=True), expected)
    np.testing.assert_array_equal(layer.moving_mean.numpy(), before)


def gradients_by_hand(x, cotangent, gain, epsilon=1e-5):
    """Of sum(cotangent * y) by x, gain and offset, in float64; the last axis is that of the channels."""
    axes = tuple(range(x.ndim - 1))
    inverse = 1.0 / np.sqrt(x.var(axes) + epsilon)
    normal = (x - x.mean(axes)) * inverse
    of_gain, of_offset = (cotangent * normal).sum(axes), cotangent.sum(axes)
    count = x.size // x.shape[-1]
    return gain * inverse * (cotangent - of_offset / count - normal * of_gain / count), of_gain, of_offset


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("shape", [(4, 3), (6, 5, 3), (2, 4, 5, 3), (2, 3, 4, 5, 3)])
def test_gradients_equal_the_formula(shape, path):
    numbers = np.random.default_rng(0)
    x, cotangent = 2.0 + numbers.normal(size=shape), numbers.normal(size=shape)
    gain = numbers.normal(size=3)
    layer = BatchNormalization()
    layer.build(shape)
    layer.gamma.assign(gain)
    inputs = tf.constant(x, tf.float32)
    with kernels(path), tf.GradientTape() as tape:
        tape.watch(inputs)
        loss = tf.reduce_sum(layer(inputs, training=True) * cotangent.astype(np.float32))
    actual = tape.gradient(loss, [inputs, layer.gamma, layer.beta])
    for value, expected in zip(actual, gradients_by_hand(x, cotangent, gain), strict=True):
        assert_close(value, expected)


@pytest.mark.parametrize("path", PATHS)
def test_gradients_of_a_frozen_layer_take_the_statistics_as_constants(path):
    numbers = np.random.default_rng(0)
    x, cotangent = numbers.normal(size=(2, 4, 5, 3)).astype(np.float32), numbers.normal(size=(2, 4, 5, 3))
    layer = BatchNormalization()
    layer.build(x.shape)
    layer.moving_variance.assign([0.5, 1.0, 2.0])
    inputs = tf.constant(x)
    with kernels(path), tf.GradientTape() as tape:
        tape.watch(inputs)
        loss = tf.reduce_sum(layer(inputs) * cotangent.astype(np.float32))
    assert_close(tape.gradient(loss, inputs), cotangent / np.sqrt(np.array([0.5, 1.0, 2.0]) + 1e-5))


def test_kernels_of_a_gpu_read_and_write_a_fraction_of_what_single_operations_do():
    """Bytes of a traced train step in bfloat16, as multiples of the layer's input."""
    layer = BatchNormalization(dtype="mixed_bfloat16")
    layer.build((None, None, None, 64))
    x = tf.zeros((4, 28, 28, 64), tf.bfloat16)
    size = 4 * 28 * 28 * 64
    multiples, float32 = {}, {}
    for path in ("gpu", "plain"):

        def step(x):
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = layer(x, training=True)
            return y, tape.gradient(y, [x, layer.gamma, layer.beta], output_gradients=x)

        with kernels(path):
            operations = [each for each in running(traced(step, x)) if each.type not in ("Identity", "Reshape")]
        multiples[path] = bytes_moved(operations) / (2 * size)
        tensors = [tensor for each in operations for tensor in each.outputs if tensor.dtype == tf.float32]
        float32[path] = sum(elements(tensor) == size for tensor in tensors)
    print(multiples, float32)
    # Forwards x in and y out; backwards x and the upstream gradient in, that of x out; x itself as an argument.
    assert multiples["gpu"] < 7
    assert multiples["plain"] > 40
    assert float32["gpu"] == 0 < float32["plain"]


@pytest.mark.parametrize("path", PATHS)
def test_a_single_value_per_channel_stays_finite(path):
    layer = BatchNormalization()
    layer.build((None, 2))
    with kernels(path):
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
import sys
import numpy as np, tensorflow as tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2)
from pemt_tf.layers.batch_normalization import BatchNormalization
from pemt_tf.device_choices import kernels

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
        return (y, *tape.gradient(loss, [inputs, layer.gamma.value, layer.beta.value]))
    results = tf.function(lambda a, b: strategy.run(step, args=(a, b)))(take(x), take(cotangent))
    y, gradient, *of_weights = ([np.asarray(v) for v in strategy.experimental_local_results(r)] for r in results)
    statistics = layer.moving_mean.numpy(), layer.moving_variance.numpy()
    return np.concatenate(y), np.concatenate(gradient), *map(sum, of_weights), *statistics

with kernels("plain"):
    one = train(tf.distribute.OneDeviceStrategy("CPU:0"), 1)
with kernels(sys.argv[1]):
    two = train(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]), 2)
for name, a, b in zip(("y", "gradient", "gain", "offset", "mean", "variance"), one, two):
    np.testing.assert_allclose(b, a, rtol=0, atol=1e-5, err_msg=name)
"""


@pytest.mark.parametrize("path", [pytest.param("cpu", marks=pytest.mark.slow), "gpu", "plain"])
def test_two_replicas_normalize_by_the_whole_batch(path):
    run = subprocess.run(
        [sys.executable, "-c", TWO_REPLICAS, path], capture_output=True, text=True, timeout=300, check=False
    )
    assert run.returncode == 0, run.stderr[-2000:]


def test_contract(tmp_path):
    x = np.random.default_rng(0).normal(size=(3, 4, 5, 2)).astype(np.float32)
    assert_layer_contract(BatchNormalization, x, tmp_path, build_shape=(None, None, None, 2))

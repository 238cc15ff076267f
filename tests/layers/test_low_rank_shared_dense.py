"""The paper's layer against the golden files, its two storages and its invariants."""

import numpy as np
import pytest
import tensorflow as tf

from pemt_tf.convert.checkpoint_converter import assign_reference_weights, export_reference_weights
from pemt_tf.layers.low_rank_shared_dense import LowRankSharedDense
from tests.golden import Golden, assert_close
from tests.layer_contract import assert_layer_contract

MODALITIES = ("visual", "audio", "joint")
FILES = {"factor_linear_small_expm": 8, "factor_linear_small_cayley": 8, "factor_linear_full_expm": 128}


def golden_layer(name: str, storage: str) -> tuple[Golden, LowRankSharedDense]:
    golden = Golden(name)
    weights = golden.weights
    rank = FILES[name]
    layer = LowRankSharedDense(
        len(weights["s_linear.bias"]),
        rank,
        MODALITIES,
        rotation="cayley" if "cayley" in name else "exponential",
        rotation_storage=storage,
    )
    layer.build(golden["in/x"].shape)
    assign_reference_weights(layer, weights)
    return golden, layer


@pytest.mark.parametrize("storage", ["square", "strict_triangle"])
@pytest.mark.parametrize("index, modality", enumerate(MODALITIES))
@pytest.mark.parametrize("name", FILES)
def test_output_and_gradients_equal_the_reference(name, index, modality, storage):
    golden, layer = golden_layer(name, storage)
    x = tf.Variable(golden["in/x"])
    raw = layer.raw_rotations[modality]
    with tf.GradientTape() as tape:
        y = layer(x, modality=modality)
        loss = tf.reduce_sum(y * golden[f"in/cot{index}"])
    gradients = tape.gradient(loss, [x, raw, layer.projections[modality], layer.kernel, layer.bias])
    grad_x, grad_raw, grad_v, grad_u, grad_b = (np.asarray(gradient) for gradient in gradients)
    assert_close(y, golden[f"out64/y{index}"])
    assert_close(loss, golden[f"out64/loss{index}"])
    assert_close(grad_b, golden[f"out64/grad_b{index}"])
    if f"out64/grad_x{index}" not in golden:  # the full-size file keeps the bias gradient only
        return
    assert_close(grad_x, golden[f"out64/grad_x{index}"])
    assert_close(grad_v.T, golden[f"out64/grad_V{index}"])
    assert_close(grad_u.T, golden[f"out64/grad_U{index}"])
    expected = golden[f"out64/grad_A{index}"]
    assert_close(grad_raw, expected if storage == "square" else expected[np.triu_indices(layer.rank, 1)])


def test_another_modality_has_no_gradient():
    golden, layer = golden_layer("factor_linear_small_expm", "square")
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(golden["in/x"], modality="audio"))
    others = [layer.projections["visual"], layer.raw_rotations["visual"], layer.projections["joint"]]
    assert tape.gradient(loss, others) == [None, None, None]


def test_output_does_not_depend_on_the_scale_of_input_or_projection():
    golden, layer = golden_layer("factor_linear_small_expm", "square")
    before = np.asarray(layer(golden["in/x"], modality="joint"))
    layer.projections["joint"].assign(layer.projections["joint"] * 7.0)
    np.testing.assert_allclose(layer(golden["in/x"] * 1000.0, modality="joint"), before, rtol=0, atol=1e-6)


def test_a_zero_input_gives_the_bias_and_a_finite_gradient():
    _, layer = golden_layer("factor_linear_small_expm", "square")
    x = tf.Variable(tf.zeros((1, 2, 32)))
    with tf.GradientTape() as tape:
        y = layer(x, modality="visual")
        loss = tf.reduce_sum(y)
    np.testing.assert_array_equal(y, np.broadcast_to(layer.bias.numpy(), y.shape))
    assert np.isfinite(tape.gradient(loss, x)).all()


def test_a_given_expansion_is_used():
    golden, layer = golden_layer("factor_linear_small_expm", "square")
    expected = np.asarray(layer(golden["in/x"], modality="visual"))
    expansion = layer.expansion("visual")
    np.testing.assert_allclose(
        expansion, np.asarray(layer.rotation_matrix("visual")) @ layer.kernel.numpy(), rtol=0, atol=1e-6
    )
    np.testing.assert_array_equal(layer(golden["in/x"], modality="visual", expansion=expansion), expected)
    unrotated = layer(golden["in/x"], modality="visual", expansion=layer.expansion("visual", rotation=tf.eye(8)))
    assert np.abs(unrotated - expected).max() > 1e-3


@pytest.mark.parametrize("index, modality", enumerate(MODALITIES))
@pytest.mark.parametrize("name", FILES)
def test_folded_layer_equals_the_reference(name, index, modality):
    golden, layer = golden_layer(name, "square")
    folded = LowRankSharedDense(layer.units, layer.rank, MODALITIES, rotation_storage="folded")
    folded.build(golden["in/x"].shape)
    folded.fold_from(layer)
    assert_close(folded(golden["in/x"], modality=modality), golden[f"out64/y{index}"])


def test_folding_merges_kernel_and_rotations():
    _, layer = golden_layer("factor_linear_small_expm", "square")
    folded = LowRankSharedDense(layer.units, layer.rank, MODALITIES, rotation_storage="folded")
    folded.build((None, None, 32))
    assert folded.count_params() == 3 * (32 * 8 + 8 * 64) + 64
    assert {weight.name for weight in folded.trainable_weights} == {f"{m}_projection" for m in MODALITIES} | {
        "shared_bias"
    }


def test_two_calls_before_two_gradients():
    # Gradient accumulation: the reference's cached rotation breaks here.
    golden, layer = golden_layer("factor_linear_small_expm", "square")
    raw = layer.raw_rotations["visual"]
    with tf.GradientTape(persistent=True) as tape:
        first = tf.reduce_sum(layer(golden["in/x"], modality="visual") * golden["in/cot0"])
        second = tf.reduce_sum(layer(golden["in/x"], modality="visual") * golden["in/cot0"])
    assert_close(tape.gradient(first, raw), golden["out64/grad_A0"])
    assert_close(tape.gradient(second, raw), golden["out64/grad_A0"])


@pytest.mark.parametrize("storage, numbers", [("square", 64), ("strict_triangle", 28)])
def test_number_of_weights(storage, numbers):
    _, layer = golden_layer("factor_linear_small_expm", storage)
    assert layer.count_params() == 3 * (32 * 8 + numbers) + 8 * 64 + 64


def test_storages_convert_both_ways():
    golden, square = golden_layer("factor_linear_small_expm", "square")
    _, triangle = golden_layer("factor_linear_small_expm", "strict_triangle")
    triangle.raw_rotations["audio"].assign(triangle.raw_rotations["audio"] * 0.5)
    expected = np.asarray(triangle(golden["in/x"], modality="audio"))
    assign_reference_weights(square, export_reference_weights(triangle))
    np.testing.assert_allclose(square(golden["in/x"], modality="audio"), expected, rtol=0, atol=1e-6)
    triangle.raw_rotations["audio"].assign(triangle.raw_rotations["audio"] * 0.0)
    assign_reference_weights(triangle, export_reference_weights(square))
    np.testing.assert_allclose(triangle(golden["in/x"], modality="audio"), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("storage", ["square", "strict_triangle"])
def test_contract(tmp_path, storage):
    def make(**arguments):
        return LowRankSharedDense(6, 4, MODALITIES, rotation_storage=storage, **arguments)

    x = np.random.default_rng(0).normal(size=(2, 3, 5)).astype(np.float32)
    others = tuple(f"{m}_{part}" for m in ("visual", "joint") for part in ("projection", "rotation"))
    assert_layer_contract(
        make, x, tmp_path, build_shape=(None, None, 5), call={"modality": "audio"}, without_gradient=others
    )

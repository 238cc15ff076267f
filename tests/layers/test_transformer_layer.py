"""One Transformer layer against the golden files of both layer kinds, dense and low-rank, with and without mask."""

import numpy as np
import pytest
import tensorflow as tf

from pemt_tf.convert.checkpoint_converter import assign_reference_weights, reference_slots
from pemt_tf.layers.transformer_layer import TransformerLayer
from tests.golden import Golden, assert_close
from tests.layer_contract import assert_layer_contract

MODALITIES = ("visual", "audio", "joint")
# The two kinds differ in dropout only, which is off here; their names in the checkpoint differ.
CASES = [("albert_layer_plain", 0), *((f"{kind}_layer_decomp", m) for kind in ("albert", "bert") for m in range(3))]


def golden_layer(name: str, storage: str = "square") -> tuple[Golden, TransformerLayer]:
    golden = Golden(name)
    rank = None if name.endswith("plain") else 8
    layer = TransformerLayer(32, 4, 64, rank, MODALITIES if rank else (), rotation_storage=storage)
    layer.build()
    report = assign_reference_weights(layer, golden.weights)
    assert set(report.assigned) == set(golden.weights)
    return golden, layer


@pytest.mark.parametrize("masked", [False, True], ids=["nomask", "mask"])
@pytest.mark.parametrize("name, index", CASES)
def test_output_attention_and_input_gradient_equal_the_reference(name, index, masked):
    golden, layer = golden_layer(name)
    x = tf.Variable(golden["in/x"])
    mask = golden["in/mask"] if masked else None
    with tf.GradientTape() as tape:
        y, attention = layer(x, modality=MODALITIES[index], mask=mask, return_attention=True)
        loss = tf.reduce_sum(y * golden["in/cot"])
    suffix = f"m{index}_{'mask' if masked else 'nomask'}"
    assert_close(y, golden[f"out64/y_{suffix}"])
    assert_close(attention, golden[f"out64/attn_{suffix}"])
    assert_close(tape.gradient(loss, x), golden[f"out64/grad_x_{suffix}"])


@pytest.mark.parametrize("name, index", [case for case in CASES if case[0].startswith("albert")])
def test_every_parameter_gradient_equals_the_reference(name, index):
    golden, layer = golden_layer(name)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(golden["in/x"], modality=MODALITIES[index]) * golden["in/cot"])
    expected = golden.section(f"out64/grad_m{index}_nomask/")
    # Low rank: V, A, U and bias of six maps, and two layer norms. Of the dense layer the file has no kernel gradients.
    assert len(expected) == (28 if "decomp" in name else 10)
    slots = {name: slot for slot in reference_slots(layer) for name in slot.names}
    names = list(expected)
    gradients = tape.gradient(loss, [slots[name].variable for name in names])
    largest = max(np.abs(array).max() for array in expected.values())
    for name, gradient in zip(names, gradients, strict=True):
        actual = slots[name].write(np.asarray(gradient))
        if "key" in name and name.endswith("bias"):  # mathematically 0
            assert np.abs(actual).max() <= 1e-5 * largest
        else:
            assert_close(actual, expected[name])


def test_a_masked_token_changes_nothing_for_the_others():
    golden, layer = golden_layer("albert_layer_decomp")
    mask = np.array([[1, 1, 0, 1], [1, 1, 0, 1]], np.float32)
    x = golden["in/x"].copy()
    before = np.asarray(layer(x, modality="audio", mask=mask))
    x[:, 2] = 5.0 * x[:, 0] - 1.0
    after = np.asarray(layer(x, modality="audio", mask=mask))
    np.testing.assert_array_equal(after[:, [0, 1, 3]], before[:, [0, 1, 3]])
    assert np.abs(after[:, 2] - before[:, 2]).max() > 0.1


def test_masking_everything_stays_finite():
    golden, layer = golden_layer("albert_layer_plain")
    y = layer(golden["in/x"], mask=np.zeros((2, 4), np.float32))
    assert np.isfinite(y).all()


def test_dropout_acts_in_training_only_and_keeps_the_mean():
    layer = TransformerLayer(16, 2, 32, attention_dropout=0.5, output_dropout=0.5, feed_forward_dropout=0.5)
    layer.build()
    x = np.random.default_rng(0).normal(size=(2, 5, 16)).astype(np.float32)
    still = np.asarray(layer(x))
    np.testing.assert_array_equal(layer(x, training=False), still)
    draws = np.stack([layer(x, training=True) for _ in range(3)])
    assert np.abs(draws[0] - draws[1]).max() > 1e-3


def test_token_order_is_invisible():
    # Without positions, attention treats tokens as a set.
    golden, layer = golden_layer("bert_layer_decomp")
    order = [2, 0, 3, 1]
    y = np.asarray(layer(golden["in/x"], modality="visual"))
    shuffled = np.asarray(layer(golden["in/x"][:, order], modality="visual"))
    np.testing.assert_allclose(shuffled, y[:, order], rtol=0, atol=1e-5)


@pytest.mark.parametrize("rank", [None, 4])
def test_contract(tmp_path, rank):
    def make(**arguments):
        return TransformerLayer(12, 3, 20, rank, ("audio",) if rank else (), **arguments)

    x = np.random.default_rng(0).normal(size=(2, 5, 12)).astype(np.float32)
    assert_layer_contract(make, x, tmp_path, call={"modality": "audio"}, bfloat16_tolerance=0.1)

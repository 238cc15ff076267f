"""Residual blocks: the initial identity and the contract; their numbers are tested with the ResNets."""

import numpy as np
import pytest
import tensorflow as tf

from pemt_tf.layers.residual_block import ResidualBlock
from tests.layer_contract import assert_layer_contract

STEPS = (("a", 2, (1, 1), (1, 1)), ("b", 2, (3, 3), (2, 2)), ("c", 4, (1, 1), (1, 1)))


def test_a_new_block_without_projection_is_a_relu():
    block = ResidualBlock((("a", 3, (3, 3), (1, 1)), ("b", 3, (3, 3), (1, 1))))
    block.build((None, None, None, 3))
    x = np.random.default_rng(0).normal(size=(2, 4, 4, 3)).astype(np.float32)
    np.testing.assert_array_equal(block(x), np.maximum(x, 0))  # the last norm of the branch starts with gain 0


@pytest.mark.parametrize("shortcut", [(2, 2), None])
def test_contract(tmp_path, shortcut):
    steps = STEPS if shortcut else (("a", 4, (3, 3), (1, 1)), ("b", 4, (3, 3), (1, 1)))

    def make(**arguments):
        return ResidualBlock(steps, shortcut, **arguments)

    x = np.random.default_rng(0).normal(size=(2, 6, 6, 4)).astype(np.float32)
    assert_layer_contract(make, x, tmp_path, build_shape=(None, None, None, 4))


@pytest.mark.parametrize("compiled", [False, True])
def test_rematerialization_changes_no_number(compiled):
    x = np.random.default_rng(0).normal(size=(2, 6, 6, 4)).astype(np.float32)
    blocks = [ResidualBlock(STEPS, (2, 2), remat=remat) for remat in (False, True)]
    for block in blocks:
        block.build((None, None, None, 4))
    blocks[0].norms[-1].gamma.assign(np.full(4, 0.5, np.float32))
    blocks[1].set_weights(blocks[0].get_weights())

    def step(block, x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = block(x, training=True)
            loss = tf.reduce_sum(y * tf.cos(tf.range(tf.size(y), dtype=tf.float32)[:, None])[: len(y), None, None])
        return y, tape.gradient(loss, [x, *block.trainable_variables])

    results = [(tf.function(step) if compiled else step)(block, tf.constant(x)) for block in blocks]
    for plain, again in zip(tf.nest.flatten(results[0]), tf.nest.flatten(results[1]), strict=True):
        np.testing.assert_allclose(again, plain, rtol=0, atol=1e-6 * max(1.0, np.abs(plain).max()))
    assert np.abs(blocks[0].norms[0].moving_mean.numpy()).max() > 1e-4
    for plain, again in zip(blocks[0].get_weights(), blocks[1].get_weights(), strict=True):
        np.testing.assert_allclose(again, plain, rtol=0, atol=1e-6)  # running statistics move once, not twice

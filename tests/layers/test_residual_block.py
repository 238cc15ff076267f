"""Residual blocks: the initial identity and the contract; their numbers are tested with the ResNets."""

import numpy as np
import pytest

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

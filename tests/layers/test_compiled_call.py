"""XLA for the layers of the Transformer: the numbers of single operations, few compilations, and its own masks."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from pemt_tf.device_choices import choices_of, kernels
from tests.layers.test_shared_transformer import Streams
from tests.traced_step import traced


def step_of(policy: str, transformer: str, **arguments):
    """A traced step with weights that do not depend on how it is computed, and what it gives: loss and gradients."""
    keras.utils.set_random_seed(1)
    model = Streams(policy, initializer_std=0.3, **arguments)

    def step(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.sin(2.0 * tf.cast(model(x, training=True), tf.float32)) * tf.range(12.0))
        return [loss, *tape.gradient(loss, [v.value for v in model.trainable_variables])]

    x = tf.constant(np.random.default_rng(2).normal(size=(2, 4, 12)), tf.float32)
    with kernels(dataclasses.replace(choices_of("auto"), transformer=transformer)):
        concrete = traced(step, x)
    return model, concrete, [np.asarray(tf.cast(each, tf.float32)) for each in concrete(x)]


def assert_near(fast, plain, tolerance):
    """The distance of all gradients as a share of their length."""
    assert fast[0] == pytest.approx(plain[0], rel=tolerance)
    mine, expected = (np.concatenate([gradient.ravel() for gradient in each[1:]]) for each in (fast, plain))
    assert np.linalg.norm(mine - expected) < tolerance * np.linalg.norm(expected)


def test_a_stream_compiles_one_layer_and_its_gradient_for_all_applications_with_the_numbers_of_single_operations():
    (_, _, plain), (_, compiled, fast) = (step_of("float32", kind, layers=2) for kind in ("single_operations", "xla"))
    assert_near(fast, plain, 1e-5)
    calls = [each for each in compiled.graph.get_operations() if "PartitionedCall" in each.type]
    assert len(calls) == 2 * 3 * 2  # two applications to each of three streams, forwards and backwards
    assert len({each.get_attr("f").name for each in calls}) == 2 * 3


@pytest.mark.slow
def test_in_bfloat16_too():
    """XLA rounds less often where it fuses operations."""
    (_, _, plain), (_, _, fast) = (step_of("mixed_bfloat16", kind, layers=1) for kind in ("single_operations", "xla"))
    assert_near(fast, plain, 0.05)


@pytest.mark.slow
def test_dropout_goes_on_from_call_to_call():
    """Every application writes its state back: one use of attention and of output dropout."""
    model, concrete, first = step_of("float32", "xla", attention_dropout=0.5, layers=2)
    states = [variable.numpy() for variable in model.non_trainable_variables]
    assert [state.tolist()[1] for state in states] == [2 * 3] * 2
    again = concrete(tf.constant(np.random.default_rng(2).normal(size=(2, 4, 12)), tf.float32))
    assert np.abs(again[0] - first[0]) > 1e-3

"""Computing again in the backward pass: when, how often, and with which gradient."""

import numpy as np
import tensorflow as tf

from pemt_tf.layers.rematerialization import remat


def test_the_function_runs_again_for_the_gradient_and_only_then():
    calls = []
    weight = tf.Variable([2.0, 3.0])

    def function(x):
        calls.append(x)
        return tf.sin(weight * x), [x]

    x = tf.constant([0.5, -1.0])
    with tf.GradientTape() as tape:
        tape.watch(x)
        (output, (other,)) = remat(function)(x)
    assert len(calls) == 1
    np.testing.assert_array_equal(other, x)
    of_x, of_weight = tape.gradient(output, [x, weight], output_gradients=tf.constant([1.0, 10.0]))
    assert len(calls) == 2
    slope = np.cos(np.array([1.0, -3.0])) * [1.0, 10.0]
    np.testing.assert_allclose(of_x, slope * [2.0, 3.0], rtol=1e-6)
    np.testing.assert_allclose(of_weight, slope * [0.5, -1.0], rtol=1e-6)


def test_in_a_graph_the_second_run_waits_for_the_upstream_gradient():
    weight = tf.Variable(2.0)

    @tf.function
    def step(x):
        with tf.GradientTape() as tape:
            (output, _) = remat(lambda x: (tf.sin(weight * x), []))(x)
            loss = tf.reduce_sum(tf.exp(output))
        return tape.gradient(loss, weight)

    operations = step.get_concrete_function(tf.zeros((3,))).graph.get_operations()
    sines = [operation for operation in operations if operation.type == "Sin"]
    assert len(sines) == 2
    exponential = next(operation for operation in operations if operation.type == "Exp")

    def needs(operation, seen):
        before = [*(tensor.op for tensor in operation.inputs), *operation.control_inputs]
        for each in before:
            if each.name not in seen:
                seen.add(each.name)
                needs(each, seen)
        return seen

    assert [exponential.name in needs(sine, set()) for sine in sines] == [False, True]

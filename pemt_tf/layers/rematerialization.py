"""Memory for time: keeping only a function's input and computing the rest again in the backward pass."""

from __future__ import annotations

from collections.abc import Callable

import keras


def remat(function: Callable) -> Callable:
    """Wraps a function of one tensor whose inner values are not to be kept for the backward pass.

    `keras.remat` does so on other backends. TensorFlow's (`tf.recompute_grad`) lets the gradients of weights wait, to
    the end of the backward pass if the scheduler likes, and they hold what was computed again until then. Here they
    come first.

    Args:
        function: from a tensor to a tensor and a nested structure of others that get no gradient. It may use trainable
            variables, and must have no side effect.
    """
    if keras.backend.backend() != "tensorflow":
        return keras.remat(function)
    import tensorflow as tf

    @tf.custom_gradient
    def kept_small(x):
        def gradient(upstream, *_, variables=()):
            with tf.control_dependencies([upstream]):
                again = tf.identity(x)
            with tf.GradientTape() as tape:
                tape.watch(again)
                output = tf.nest.flatten(function(again))[0]
            of_x, *of_variables = tape.gradient(output, [again, *variables], output_gradients=upstream)
            # Weights first: else their gradients may wait to the end, and hold all that they are made of.
            with tf.control_dependencies([each for each in of_variables if each is not None]):
                of_x = tf.identity(of_x)
            return of_x, of_variables

        return function(x), gradient

    return kept_small

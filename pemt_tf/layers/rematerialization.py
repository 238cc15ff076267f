"""Saves memory: keeps only a function's input and computes the rest again in the backward pass."""

from __future__ import annotations

from collections.abc import Callable

import keras


def remat(function: Callable) -> Callable:
    """Wraps a function of one tensor so that its inner values are not kept for the backward pass.

    `keras.remat` does so on other backends. With TensorFlow's `tf.recompute_grad` the gradients of weights may wait
    until the end of the backward pass, and hold the recomputed values until then. Here they come first.

    Args:
        function: maps a tensor to a tensor and a nested structure of others that get no gradient. It may use trainable
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
            # Weights first: otherwise their gradients may wait until the end, and hold their inputs.
            with tf.control_dependencies([each for each in of_variables if each is not None]):
                of_x = tf.identity(of_x)
            return of_x, of_variables

        return function(x), gradient

    return kept_small

"""A function of layers that XLA compiles, within a step that TensorFlow runs operation by operation."""

from __future__ import annotations

from collections.abc import Callable

import keras


def compiled_call(function: Callable, variables: list[keras.Variable]) -> Callable:
    """Wraps a function so that XLA compiles it, once for all calls with tensors of the same shapes and types.

    Its gradient is compiled too. The variables are read and written outside of what is compiled, so that each replica
    of data parallelism uses its own.

    Args:
        function: maps nested structures of tensors to a tensor.
        variables: all variables that it uses; those that are not trainable may change.
    """
    import tensorflow as tf

    changing = [variable for variable in variables if not variable.trainable]

    @tf.function(jit_compile=True, autograph=False)
    def pure(values: list, arguments: tuple) -> tuple:
        with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))) as scope:
            outputs = function(*arguments)
        return outputs, [scope.get_current_value(variable) for variable in changing]

    def call(*arguments):
        outputs, after = pure([tf.convert_to_tensor(variable.value) for variable in variables], arguments)
        for variable, value in zip(changing, after, strict=True):
            variable.assign(value)
        return outputs

    return call

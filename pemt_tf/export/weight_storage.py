"""How a SavedModel stores its weights: as they are, or smaller, and then widened in the graph at each request."""

from __future__ import annotations

from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf

FLOAT32, FLOAT16, INT8 = "float32", "float16", "int8"
_SMALL = 4096  # elements; smaller weights gain nothing, and norms and biases stay exact
_MOST_INT8 = 127


class StoredWeights:
    """A built model's weights in the form in which they are stored.

    `float16` halves every large matrix. `int8` quarters it: a number from -127 to 127 for each weight and a float32
    scale for each output channel (the last axis), symmetric, rounded to nearest. Small weights and vectors, hence all
    biases, norms and running statistics, stay float32.
    """

    def __init__(self, model: keras.Model, kind: str):
        self._replaced: dict[int, tuple[tf.Variable, tf.Variable | None]] = {}
        if kind != FLOAT32:
            for variable in model.variables:
                values = keras.ops.convert_to_numpy(variable.value)
                if values.ndim >= 2 and values.size >= _SMALL and values.dtype == np.float32:
                    self._replaced[id(variable)] = _stored(values, kind, variable.name)

    def scope(self, variables: list[keras.Variable]) -> keras.StatelessScope:
        """A scope in which these variables have the widened values; it is entered while a graph is traced."""
        return keras.StatelessScope(state_mapping=list(self._widened(variables)))

    def _widened(self, variables: list[keras.Variable]) -> Iterator[tuple[keras.Variable, tf.Tensor]]:
        for variable in variables:
            if id(variable) in self._replaced:
                codes, scale = self._replaced[id(variable)]
                wide = tf.cast(codes, tf.float32)
                yield variable, wide if scale is None else wide * scale


def _stored(values: np.ndarray, kind: str, name: str) -> tuple[tf.Variable, tf.Variable | None]:
    """The stored values, and for int8 the scale of each channel."""
    if kind == FLOAT16:
        largest = np.finfo(np.float16).max
        half = tf.constant(np.clip(values, -largest, largest).astype(np.float16))
        return tf.Variable(half, trainable=False, name=name), None
    scale = np.abs(values).max(axis=tuple(range(values.ndim - 1))) / _MOST_INT8
    scale = np.where(scale > 0, scale, 1.0).astype(np.float32)
    codes = tf.constant(np.rint(values / scale).astype(np.int8))
    scale_variable = tf.Variable(tf.constant(scale), trainable=False, name=f"{name}_scale")
    return tf.Variable(codes, trainable=False, name=f"{name}_codes"), scale_variable

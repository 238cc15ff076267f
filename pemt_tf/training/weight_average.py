"""An exponential moving average of a model's weights."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf
from keras import ops


class WeightAverage:
    """A moving average of the `float_weights` of a built model.

    Early steps decay faster, min(decay, (1 + step) / (10 + step)): otherwise the random initial weights would stay in
    the average for long.
    """

    def __init__(self, weights: list, decay: float):
        self.decay = decay
        self.weights = weights
        self.variables = [
            keras.Variable(ops.convert_to_numpy(v), trainable=False, dtype=v.dtype, name=f"average_{index}")
            for index, v in enumerate(self.weights)
        ]

    def update(self, strategy: tf.distribute.Strategy, step: tf.Tensor) -> None:
        """Updates the average after an optimizer step; `step` counts earlier ones. Called outside the replicas."""
        step = tf.cast(step, tf.float32)
        rate = 1.0 - tf.minimum(self.decay, (1.0 + step) / (10.0 + step))

        def move(average: tf.Variable, weight: tf.Variable) -> None:
            average.assign_add((weight - average) * tf.cast(rate, average.dtype))

        for average, weight in zip(self.variables, self.weights, strict=True):
            strategy.extended.update(average.value, move, args=(weight.value,), group=False)

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Gives the model its averaged weights within the block."""
        kept = [np.array(ops.convert_to_numpy(weight)) for weight in self.weights]
        self.apply()
        try:
            yield
        finally:
            for weight, value in zip(self.weights, kept, strict=True):
                weight.assign(value)

    def apply(self) -> None:
        """Gives the model its averaged weights."""
        for average, weight in zip(self.variables, self.weights, strict=True):
            weight.assign(ops.convert_to_numpy(average))


def float_weights(model: keras.Model) -> list:
    """Weights and running statistics, without the state of random generators."""
    return [v for v in model.weights if keras.backend.is_float_dtype(v.dtype)]

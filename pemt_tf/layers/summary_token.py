"""The summary ("BOS") token that stands before the tokens of a stream (docs/reference_model.md section 5)."""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

from pemt_tf.config.allowed_values import Count, Truth
from pemt_tf.config.argument_checks import check_arguments


@keras.saving.register_keras_serializable("pemt_tf")
class SummaryToken(keras.layers.Layer):
    """Prepends a learned token; with `mean_pooled`, that token plus the mean of the sequence, normalized.

    Args:
        hidden: width.
        mean_pooled: add the mean over tokens, each with a sinusoidal position code.
    """

    @check_arguments
    def __init__(self, hidden: Count, mean_pooled: Truth = False, **kwargs):
        super().__init__(**kwargs)
        self.hidden, self.mean_pooled = hidden, mean_pooled
        self.supports_masking = True  # masks are an argument; without this Keras warns about them
        if mean_pooled:
            self.norm = keras.layers.LayerNormalization(epsilon=1e-12, dtype=self.dtype_policy, name="norm")

    def build(self, input_shape=None):
        self.token = self.add_weight(
            name="token", shape=(self.hidden,), initializer=keras.initializers.RandomNormal(stddev=0.01)
        )
        if self.mean_pooled:
            self.norm.build((None, None, self.hidden))
        self.built = True

    def call(self, tokens, mask=None):
        """Prepends the summary token.

        Args:
            tokens: [batch, segments, hidden].
            mask: [batch, segments], 1 for segments that exist; honoured by the mean.

        Returns:
            [batch, 1 + segments, hidden].
        """
        summary = ops.broadcast_to(self.token, (ops.shape(tokens)[0], 1, self.hidden))
        if self.mean_pooled:
            coded = tokens + ops.cast(sinusoidal_positions(tokens.shape[1], self.hidden), tokens.dtype)
            weights = ops.ones_like(tokens[..., :1]) if mask is None else ops.cast(mask, tokens.dtype)[..., None]
            mean = ops.sum(coded * weights, axis=1, keepdims=True)
            summary = self.norm(summary + mean / ops.maximum(ops.sum(weights, axis=1, keepdims=True), 1.0))
        return ops.concatenate([summary, tokens], axis=1)

    def compute_mask(self, inputs, previous_mask=None):
        return None  # nothing is attached to the outputs: later layers get their masks by hand

    def compute_output_shape(self, input_shape, *args, **kwargs):
        length = None if input_shape[1] is None else input_shape[1] + 1
        return (input_shape[0], length, input_shape[2])

    def get_config(self):
        return {**super().get_config(), "hidden": self.hidden, "mean_pooled": self.mean_pooled}


def sinusoidal_positions(length: int, hidden: int) -> np.ndarray:
    """Sine at even and cosine at odd columns, frequencies 10000^(-2k / hidden); [length, hidden] float32."""
    phase = np.arange(length)[:, None] * 10_000.0 ** (-np.arange(0, hidden, 2) / hidden)
    table = np.zeros((length, hidden), np.float32)
    table[:, 0::2] = np.sin(phase)
    table[:, 1::2] = np.cos(phase)[:, : hidden // 2]
    return table

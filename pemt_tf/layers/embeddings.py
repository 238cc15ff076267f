"""Position and type embeddings of a token sequence (docs/reference_model.md section 4)."""

from __future__ import annotations

import keras
from keras import ops

from pemt_tf.config.allowed_values import Count, CountFrom0, Probability
from pemt_tf.config.argument_checks import check_arguments, require_argument
from pemt_tf.layers.dropout import Dropout


@keras.saving.register_keras_serializable("pemt_tf")
class TokenEmbeddings(keras.layers.Layer):
    """LayerNorm(token + position (+ type)), then dropout.

    Args:
        max_positions: rows of the position table; the longest sequence.
        hidden: width.
        types: rows of the type table, 0 for none (a single modality has none).
        dropout: probability.
    """

    @check_arguments
    def __init__(
        self, max_positions: Count, hidden: Count, types: CountFrom0 = 0, dropout: Probability = 0.0, **kwargs
    ):
        super().__init__(**kwargs)
        self.max_positions, self.hidden, self.types, self.dropout = max_positions, hidden, types, dropout
        self.norm = keras.layers.LayerNormalization(epsilon=1e-12, dtype=self.dtype_policy, name="norm")
        self.drop = Dropout(dropout, dtype=self.dtype_policy, name="drop")

    def build(self, input_shape=None):
        self.positions = self._add_table("positions", self.max_positions)
        if self.types:
            self.type_table = self._add_table("types", self.types)
        self.norm.build((None, None, self.hidden))
        self.built = True

    def _add_table(self, name: str, rows: int):
        initializer = keras.initializers.RandomNormal(stddev=0.01)
        return self.add_weight(name=name, shape=(rows, self.hidden), initializer=initializer)

    def call(self, tokens, token_type: int | None = None, training=False):
        """Embeds one sequence; positions count from 0.

        Args:
            tokens: [batch, length, hidden].
            token_type: row of the type table for the whole sequence; None adds no type.
            training: whether dropout is active.

        Raises:
            ValueError: the sequence is longer than the position table, or there is no such type.
        """
        length = tokens.shape[1]
        if length is not None and length > self.max_positions:
            raise ValueError(
                f"a sequence of {length} tokens (segments + 1) does not fit the position table of "
                f"{self.max_positions} rows; use fewer segments or a larger max_positions"
            )
        known = token_type is None or token_type in range(self.types)
        require_argument(known, self, "token_type", token_type, ["None", *map(str, range(self.types))])
        embedded = tokens + self.positions[: ops.shape(tokens)[1]]
        if token_type is not None:
            embedded = embedded + self.type_table[token_type]
        return self.drop(self.norm(embedded), training=training)

    def compute_output_shape(self, input_shape, *args, **kwargs):
        return input_shape

    def get_config(self):
        return {
            **super().get_config(),
            "max_positions": self.max_positions,
            "hidden": self.hidden,
            "types": self.types,
            "dropout": self.dropout,
        }

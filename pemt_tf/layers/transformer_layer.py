"""One Transformer layer, post-norm, with dense or low-rank shared maps (docs/reference_model.md section 3)."""

from __future__ import annotations

import math
import typing

import keras
from keras import KerasTensor, ops

from pemt_tf.config.allowed_values import Count, Names, Positive, Probability, Rotation, RotationStorage
from pemt_tf.config.argument_checks import check_arguments, require_argument
from pemt_tf.layers.constructor_arguments import constructor_arguments
from pemt_tf.layers.dropout import Dropout
from pemt_tf.layers.low_rank_shared_dense import LowRankSharedDense, normalize

MAPS = ("query", "key", "value", "attention_output", "intermediate", "output")
_MASKED_SCORE = -10_000.0  # finite: a row whose keys are all masked stays a number


@keras.saving.register_keras_serializable("pemt_tf")
class TransformerLayer(keras.layers.Layer):
    """Self-attention and feed-forward network with residual connections and layer normalization after each.

    Args:
        hidden: width of the tokens.
        heads: attention heads.
        intermediate: width of the feed-forward network.
        rank: width of the low-rank code, or None for ordinary dense maps.
        modalities: names of the modalities with factors of their own; used with `rank`.
        rotation, rotation_storage, initializer_std: see `LowRankSharedDense`.
        attention_dropout: dropout rate on the attention probabilities.
        output_dropout: dropout rate after the attention's output map.
        feed_forward_dropout: dropout rate after the feed-forward network; 0 in the reference when layers are shared.
    """

    @check_arguments
    def __init__(
        self,
        hidden: Count,
        heads: Count,
        intermediate: Count,
        rank: Count | None = None,
        modalities: Names = (),
        rotation: Rotation = "exponential",
        rotation_storage: RotationStorage = "strict_triangle",
        initializer_std: Positive = 0.01,
        attention_dropout: Probability = 0.0,
        output_dropout: Probability = 0.0,
        feed_forward_dropout: Probability = 0.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        named = rank is None or bool(modalities)
        require_argument(named, self, "modalities", modalities, f"at least one name with rank {rank}")
        require_argument(hidden % heads == 0, self, "hidden", hidden, f"a multiple of heads ({heads})")
        self.hidden, self.heads, self.intermediate, self.rank = hidden, heads, intermediate, rank
        self.modalities, self.rotation, self.rotation_storage = modalities, rotation, rotation_storage
        self.initializer_std = initializer_std
        self.attention_dropout, self.output_dropout = attention_dropout, output_dropout
        self.feed_forward_dropout = feed_forward_dropout
        self.supports_masking = True  # masks are an argument; without this Keras warns about them
        self.maps = {name: self._make_map(name) for name in MAPS}
        self.attention_norm = keras.layers.LayerNormalization(
            epsilon=1e-12, dtype=self.dtype_policy, name="attention_norm"
        )
        self.output_norm = keras.layers.LayerNormalization(epsilon=1e-12, dtype=self.dtype_policy, name="output_norm")
        self.drop_attention = Dropout(attention_dropout, dtype=self.dtype_policy, name="drop_attention")
        self.drop_output = Dropout(output_dropout, dtype=self.dtype_policy, name="drop_output")
        self.drop_feed_forward = Dropout(feed_forward_dropout, dtype=self.dtype_policy, name="drop_feed_forward")

    def _make_map(self, name: str) -> keras.layers.Layer:
        units = self.intermediate if name == "intermediate" else self.hidden
        if self.rank is None:
            return keras.layers.Dense(
                units,
                kernel_initializer=keras.initializers.RandomNormal(stddev=self.initializer_std),
                dtype=self.dtype_policy,
                name=name,
            )
        return LowRankSharedDense(
            units,
            self.rank,
            self.modalities,
            rotation=self.rotation,
            rotation_storage=self.rotation_storage,
            initializer_std=self.initializer_std,
            dtype=self.dtype_policy,
            name=name,
        )

    def build(self, input_shape: tuple | None = None) -> None:
        for name, layer in self.maps.items():
            layer.build((None, None, self.intermediate if name == "output" else self.hidden))
        for norm in (self.attention_norm, self.output_norm):
            norm.build((None, None, self.hidden))
        self.built = True

    def matrices(
        self, modality: str | None = None, rotations: dict[str, KerasTensor] | None = None, biases: dict | None = None
    ) -> dict:
        """What one application multiplies by and adds; for layers that are applied repeatedly, once per step.

        Args:
            modality: modality whose factors to use; ignored by dense maps.
            rotations: map name to Q [rank, rank] float32, if already computed.
            biases: result of `biases()`, if already computed.

        Returns:
            By name, in the compute dtype: of each map the matrix [width, units] after the normalized code, or the whole
            kernel of a dense map; `attention_input`, the matrices by which query, key and value multiply their common
            input, side by side; `*_projection` [width, rank] of the other low-rank maps; and `biases()`.
        """
        biases = self.biases() if biases is None else biases
        if self.rank is None:
            kernels = {name: ops.cast(layer.kernel, self.compute_dtype) for name, layer in self.maps.items()}
            joint = ops.concatenate([kernels[name] for name in MAPS[:3]], axis=-1)
            return {**kernels, "attention_input": joint, **biases}
        own = typing.cast(str, modality)  # the maps refuse a modality that they do not have, and None
        rotations = rotations or {}
        expansions = {name: layer.expansion(own, rotations.get(name)) for name, layer in self.maps.items()}
        projections = {name: layer.projections[own] for name, layer in self.maps.items()}
        joint = ops.concatenate([projections[name] for name in MAPS[:3]], axis=-1)
        others = {f"{name}_projection": ops.cast(projections[name], self.compute_dtype) for name in MAPS[3:]}
        return {**expansions, "attention_input": ops.cast(joint, self.compute_dtype), **others, **biases}

    def biases(self) -> dict[str, KerasTensor]:
        """`*_bias` [units] of each map in the compute dtype: all modalities share them."""
        return {f"{name}_bias": ops.cast(layer.bias, self.compute_dtype) for name, layer in self.maps.items()}

    def variables_beside_maps(self) -> list[keras.Variable]:
        """Those that an application uses besides what `matrices` returns: of norms, and the state of dropout."""
        parts = (self.attention_norm, self.output_norm, self.drop_attention, self.drop_output, self.drop_feed_forward)
        return [variable for part in parts for variable in part.variables]

    def call(
        self,
        x: KerasTensor,
        modality: str | None = None,
        mask: KerasTensor | None = None,
        matrices=None,
        training: bool = False,
        return_attention=False,
    ):
        """Runs the layer.

        Args:
            x: [batch, length, hidden].
            modality: modality whose factors to use; ignored by dense maps.
            mask: [batch, length], 1 for tokens to attend to, 0 for the others; None attends to all.
            matrices: result of `matrices(modality)` in this step; computed here if not given.
            training: whether dropout is active.
            return_attention: whether to also return the probabilities [batch, heads, length, length] float32.

        Returns:
            [batch, length, hidden], or a pair of it and the probabilities.
        """
        matrices = self.matrices(modality) if matrices is None else matrices
        length = ops.shape(x)[1]
        # All tokens of the batch as rows of one matrix: a batched product would make one kernel gradient per clip.
        x = ops.reshape(x, (-1, self.hidden))
        attended, probabilities = self._attend(x, length, mask, matrices, training)
        attended = self._map("attention_output", attended, matrices)
        x = self.attention_norm(x + self.drop_output(attended, training=training))
        inner = _gelu(self._map("intermediate", x, matrices))
        outer = self._map("output", inner, matrices)
        x = self.output_norm(self.drop_feed_forward(outer, training=training) + x)
        x = ops.reshape(x, (-1, length, self.hidden))
        return (x, probabilities) if return_attention else x

    def _map(self, name: str, x: KerasTensor, matrices: dict) -> KerasTensor:
        """A map as `matrices` has it: its layer would cast kernel and bias again for each application."""
        if self.rank is None:
            return ops.add(ops.matmul(x, matrices[name]), matrices[f"{name}_bias"])
        return self._expand(name, normalize(ops.matmul(x, matrices[f"{name}_projection"])), matrices)

    @staticmethod
    def _expand(name: str, code: KerasTensor, matrices: dict) -> KerasTensor:
        return ops.matmul(code, matrices[name]) + matrices[f"{name}_bias"]

    def _attend(self, x: KerasTensor, length, mask: KerasTensor | None, matrices, training):
        """[batch * length, hidden] tokens to as many attended values, and the attention probabilities."""
        query, key, value = (self._split_heads(t, length) for t in self._attention_inputs(x, matrices))
        scores = ops.matmul(query, ops.swapaxes(key, -1, -2)) / math.sqrt(self.hidden // self.heads)
        scores = ops.cast(scores, "float32")
        if mask is not None:
            scores = scores + (1.0 - ops.cast(mask, "float32"))[:, None, None, :] * _MASKED_SCORE
        probabilities = ops.softmax(scores, axis=-1)
        dropped = self.drop_attention(ops.cast(probabilities, self.compute_dtype), training=training)
        context = ops.swapaxes(ops.matmul(dropped, value), 1, 2)
        return ops.reshape(context, (-1, self.hidden)), probabilities

    def _attention_inputs(self, x: KerasTensor, matrices):
        """Query, key and value: three maps of the same input, so their first product is one."""
        parts = ops.matmul(x, matrices["attention_input"])
        if self.rank is None:
            parts = zip(MAPS, ops.split(parts, 3, axis=-1), strict=False)
            return [part + matrices[f"{name}_bias"] for name, part in parts]
        codes = ops.unstack(normalize(ops.reshape(parts, (-1, 3, self.rank))), 3, axis=1)
        return [self._expand(name, code, matrices) for name, code in zip(MAPS, codes, strict=False)]

    def _split_heads(self, x: KerasTensor, length) -> KerasTensor:
        split = ops.reshape(x, (-1, length, self.heads, self.hidden // self.heads))
        return ops.swapaxes(split, 1, 2)

    def fold_from(self, source: TransformerLayer) -> None:
        """Copies the function of a low-rank layer that is not folded; see `LowRankSharedDense.fold_from`."""
        for name, layer in self.maps.items():
            layer.fold_from(source.maps[name])
        self.attention_norm.set_weights(source.attention_norm.get_weights())
        self.output_norm.set_weights(source.output_norm.get_weights())

    def compute_mask(self, inputs, previous_mask=None) -> None:
        return None  # nothing is attached to the outputs: later layers get their masks by hand

    def compute_output_shape(self, input_shape: tuple, *args, **kwargs) -> tuple:
        return input_shape

    def get_config(self) -> dict:
        return {**super().get_config(), **constructor_arguments(self, TransformerLayer)}


def _gelu(x: KerasTensor) -> KerasTensor:
    """x times the normal distribution function of x; `ops.gelu` goes through the slower erfc in current TensorFlow."""
    return x * (0.5 + 0.5 * ops.erf(x * math.sqrt(0.5)))

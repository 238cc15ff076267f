"""A Transformer that several modalities and all of its layers may share (paper section 3.2)."""

from __future__ import annotations

import typing
from collections.abc import Callable

import keras
from keras import KerasTensor, ops

from pemt_tf.config.allowed_values import Count, Names, Positive, Probability, Rotation, RotationStorage, Truth
from pemt_tf.config.argument_checks import check_arguments, require_argument
from pemt_tf.device_choices import device_choices
from pemt_tf.layers import orthogonal
from pemt_tf.layers.compiled_call import compiled_call
from pemt_tf.layers.constructor_arguments import constructor_arguments
from pemt_tf.layers.transformer_layer import MAPS, TransformerLayer


@keras.saving.register_keras_serializable("pemt_tf")
class SharedTransformer(keras.layers.Layer):
    """Applies `layers` Transformer layers; with `share_layers` they are one layer applied again and again.

    Args:
        layers: number of applications.
        hidden, heads, intermediate, rank, modalities, rotation, rotation_storage, initializer_std: as in
            `TransformerLayer`.
        share_layers: whether one physical layer serves all applications.
        attention_dropout, hidden_dropout: probabilities. As in the reference, shared layers use the attention
            probability after the attention too and none after the feed-forward network.
    """

    @check_arguments
    def __init__(
        self,
        layers: Count,
        hidden: Count,
        heads: Count,
        intermediate: Count,
        rank: Count | None = None,
        modalities: Names = (),
        share_layers: Truth = True,
        rotation: Rotation = "exponential",
        rotation_storage: RotationStorage = "strict_triangle",
        initializer_std: Positive = 0.01,
        attention_dropout: Probability = 0.0,
        hidden_dropout: Probability = 0.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        named = rank is None or bool(modalities)
        require_argument(named, self, "modalities", modalities, f"at least one name with rank {rank}")
        self.layers, self.hidden, self.heads, self.intermediate = layers, hidden, heads, intermediate
        self.rank, self.modalities, self.share_layers = rank, modalities, share_layers
        self.rotation, self.rotation_storage = rotation, rotation_storage
        self.initializer_std = initializer_std
        self.attention_dropout, self.hidden_dropout = attention_dropout, hidden_dropout
        self.supports_masking = True  # masks are an argument; without this Keras warns about them
        self.blocks = [
            TransformerLayer(
                hidden,
                heads,
                intermediate,
                rank,
                self.modalities,
                rotation=rotation,
                rotation_storage=rotation_storage,
                initializer_std=initializer_std,
                attention_dropout=attention_dropout,
                output_dropout=attention_dropout if share_layers else hidden_dropout,
                feed_forward_dropout=0.0 if share_layers else hidden_dropout,
                dtype=self.dtype_policy,
                name=f"layer_{index}",
            )
            for index in range(1 if share_layers else layers)
        ]

    def build(self, input_shape: tuple | None = None) -> None:
        for block in self.blocks:
            block.build()
        self.built = True

    def matrices(self) -> dict[str | None, list[dict]]:
        """The matrices that all layers multiply by, each computed once: all rotations in one batched call.

        Compute them once per step and pass them to each `call`, which would otherwise repeat the work per modality.

        Returns:
            Modality (None for dense maps, which have no modalities) to the results of `TransformerLayer.matrices`, one
            for each physical layer.
        """
        low_rank = self.rank is not None
        rotations = self._rotations() if low_rank and self.rotation_storage != "folded" else {}
        biases = [block.biases() for block in self.blocks]
        return {
            modality: [
                block.matrices(modality, rotations.get((modality, index)), biases[index])
                for index, block in enumerate(self.blocks)
            ]
            for modality in (self.modalities if low_rank else (None,))
        }

    def _rotations(self) -> dict[tuple[str | None, int], dict[str, KerasTensor]]:
        """Modality and number of the physical layer to the rotations of its maps, all from one batched call."""
        places = [(m, b, name) for m in self.modalities for b in range(len(self.blocks)) for name in MAPS]
        raw = ops.stack([self.blocks[block].maps[name].raw_rotation(modality) for modality, block, name in places])
        skews = orthogonal.skew_from_stored(raw, typing.cast(int, self.rank), self.rotation_storage)
        rotations = ops.unstack(orthogonal.rotation_from_skew(skews, self.rotation), len(places))
        by_block: dict = {(modality, block): {} for modality, block, _ in places}
        for (modality, block, name), rotation in zip(places, rotations, strict=True):
            by_block[modality, block][name] = rotation
        return by_block

    def call(
        self,
        x: KerasTensor,
        modality: str | None = None,
        mask: KerasTensor | None = None,
        matrices=None,
        training: bool = False,
    ) -> KerasTensor:
        """Contextualizes tokens.

        Args:
            x: [batch, length, hidden].
            modality: modality whose factors to use.
            mask: [batch, length], 1 keeps a token, 0 hides it from all others; None keeps all.
            matrices: result of `matrices()` in this step; computed here if not given.
            training: whether dropout is active.

        Returns:
            [batch, length, hidden].
        """
        known = self.rank is None or modality in self.modalities
        require_argument(known, self, "modality", modality, self.modalities)
        matrices = self.matrices() if matrices is None else matrices
        per_block = matrices[None if self.rank is None else modality]
        applications = [self._application(block, modality, training) for block in self.blocks]
        for index in range(self.layers):
            physical = index % len(self.blocks)
            x = applications[physical](x, mask, per_block[physical])
        return x

    def _application(self, block: TransformerLayer, modality: str | None, training: bool) -> Callable:
        """A layer as a function of tokens, mask and matrices; compiled, it serves all its applications to a stream."""

        def apply(x: KerasTensor, mask: KerasTensor | None, matrices: dict) -> KerasTensor:
            return block(x, modality=modality, mask=mask, matrices=matrices, training=training)

        if not (training and device_choices().transformer == "xla"):
            return apply
        return compiled_call(apply, block.variables_beside_maps())

    def fold_from(self, source: SharedTransformer) -> None:
        """Copies the function of a low-rank Transformer that is not folded."""
        for block, other in zip(self.blocks, source.blocks, strict=True):
            block.fold_from(other)

    def compute_mask(self, inputs, previous_mask=None) -> None:
        return None  # nothing is attached to the outputs: later layers get their masks by hand

    def compute_output_shape(self, input_shape: tuple, *args, **kwargs) -> tuple:
        return input_shape

    def get_config(self) -> dict:
        return {**super().get_config(), **constructor_arguments(self, SharedTransformer)}

"""The paper's idea: one dense layer for several modalities that share its large factors and keep the small ones apart.

A weight matrix W_m of modality m is written as U Q_m V_m (paper section 3.2; docs/reference_model.md section 1):

    y = U Q_m (V_m x / ||V_m x||) + b

V_m projects the input to `rank` numbers, Q_m rotates them, U expands them to the output. U and b, the bulk, are shared
by all modalities (and, when the layer itself is reused, by all layers); V_m and the rotation Q_m belong to a modality.
The low-rank code is normalized to length 1, so modalities of different scale meet U on equal terms.
"""

from __future__ import annotations

import keras
from keras import KerasTensor, ops

from pemt_tf.config.allowed_values import Count, Positive, Rotation, RotationStorage, SomeNames
from pemt_tf.config.argument_checks import check_arguments, require_argument
from pemt_tf.layers import orthogonal
from pemt_tf.layers.constructor_arguments import constructor_arguments

_SMALLEST_NORM = 1e-12


@keras.saving.register_keras_serializable("pemt_tf")
class LowRankSharedDense(keras.layers.Layer):
    """Dense layer whose kernel is shared by modalities up to a low-rank factor and a rotation.

    Args:
        units: output width.
        rank: width of the low-rank code.
        modalities: names of the modalities that have a V and a Q of their own.
        rotation: `exponential` or `cayley`.
        rotation_storage: `strict_triangle`, only the rank (rank - 1) / 2 degrees of freedom; `square`, all rank^2
            entries as in the released checkpoint; or `folded`, for inference: the product of rotation and U for each
            modality. The function is the same.
        initializer_std: standard deviation of U and V at the start (docs/reference_model.md section 10).
    """

    @check_arguments
    def __init__(
        self,
        units: Count,
        rank: Count,
        modalities: SomeNames = ("visual", "audio", "joint"),
        rotation: Rotation = "exponential",
        rotation_storage: RotationStorage = "strict_triangle",
        initializer_std: Positive = 0.01,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.units, self.rank, self.modalities = units, rank, modalities
        self.rotation, self.rotation_storage, self.initializer_std = rotation, rotation_storage, initializer_std

    def build(self, input_shape: tuple) -> None:
        self.projections = {
            modality: self.add_weight(
                name=f"{modality}_projection",
                shape=(input_shape[-1], self.rank),
                initializer=keras.initializers.RandomNormal(stddev=self.initializer_std),
                autocast=False,  # cast where it is used: several of them together, once for all layers
            )
            for modality in self.modalities
        }
        self._build_folded() if self.rotation_storage == "folded" else self._build_factors()
        self.bias = self.add_weight(name="shared_bias", shape=(self.units,), initializer="zeros", autocast=False)
        self.built = True

    def _build_factors(self) -> None:
        square = self.rotation_storage == "square"
        raw_shape = (self.rank, self.rank) if square else (self.rank * (self.rank - 1) // 2,)
        self.raw_rotations = {
            modality: self.add_weight(
                name=f"{modality}_rotation",
                shape=raw_shape,
                initializer=orthogonal.RotationInitializer(self.rank),
                autocast=False,  # the exponential is computed in float32 under every dtype policy
            )
            for modality in self.modalities
        }
        self.kernel = self.add_weight(
            name="shared_kernel",
            shape=(self.rank, self.units),
            initializer=keras.initializers.RandomNormal(stddev=self.initializer_std),
            autocast=False,  # so is its product with the rotation
        )

    def _build_folded(self) -> None:
        self.expansions = {
            modality: self.add_weight(name=f"{modality}_expansion", shape=(self.rank, self.units), trainable=False)
            for modality in self.modalities
        }

    def fold_from(self, source: LowRankSharedDense) -> None:
        """Copies the function of a layer of the same shape that is not folded; this one must be."""
        shape = (source.units, source.rank, source.modalities)
        fits = self.rotation_storage == "folded" and (self.units, self.rank, self.modalities) == shape
        require_argument(fits, self, "source", shape, "the units, rank and modalities of this layer, which is folded")
        for modality in self.modalities:
            self.projections[modality].assign(source.projections[modality])
            self.expansions[modality].assign(source.expansion(modality))
        self.bias.assign(source.bias)

    def raw_rotation(self, modality: str) -> KerasTensor:
        """The parameter of Q_m as it is stored, float32: [rank, rank], or [rank * (rank - 1) / 2]."""
        self._check_modality(modality)
        kept = self.rotation_storage != "folded"
        require_argument(kept, self, "rotation_storage", "folded", "strict_triangle, square: a folded layer has no Q")
        return ops.cast(self.raw_rotations[modality], "float32")

    def skew(self, modality: str) -> KerasTensor:
        """The skew-symmetric parameter of a modality, [rank, rank] float32."""
        return orthogonal.skew_from_stored(self.raw_rotation(modality), self.rank, self.rotation_storage)

    def rotation_matrix(self, modality: str) -> KerasTensor:
        """Q_m, [rank, rank] float32, orthogonal."""
        return orthogonal.rotation_from_skew(self.skew(modality), self.rotation)

    def call(self, x: KerasTensor, modality: str, expansion: KerasTensor | None = None) -> KerasTensor:
        """Applies the map of one modality.

        Args:
            x: [..., input width].
            modality: one of `modalities`.
            expansion: result of `expansion(modality)` in this step; computed here if not given.

        Returns:
            [..., units] in the compute dtype.
        """
        self._check_modality(modality)
        expansion = self.expansion(modality) if expansion is None else expansion
        projection, bias = (ops.cast(each, self.compute_dtype) for each in (self.projections[modality], self.bias))
        return ops.matmul(normalize(ops.matmul(x, projection)), expansion) + bias

    def expansion(self, modality: str, rotation: KerasTensor | None = None) -> KerasTensor:
        """Q_m and U in one matrix, [rank, units] in the compute dtype: multiplied once, not once per token.

        Args:
            modality: one of `modalities`.
            rotation: Q_m [rank, rank] float32, if already computed.
        """
        self._check_modality(modality)
        if self.rotation_storage == "folded":
            return ops.cast(self.expansions[modality], self.compute_dtype)
        rotation = self.rotation_matrix(modality) if rotation is None else rotation
        return ops.cast(ops.matmul(rotation, self.kernel), self.compute_dtype)

    def _check_modality(self, modality) -> None:
        require_argument(modality in self.modalities, self, "modality", modality, self.modalities)

    def compute_output_shape(self, input_shape: tuple, *args, **kwargs) -> tuple:
        return (*input_shape[:-1], self.units)

    def get_config(self) -> dict:
        return {**super().get_config(), **constructor_arguments(self, LowRankSharedDense)}


def normalize(code: KerasTensor) -> KerasTensor:
    """code / max(||code||, 1e-12) over the last axis, computed in float32; the gradient is finite at 0."""
    exact = ops.cast(code, "float32")
    squared = ops.sum(ops.square(exact), axis=-1, keepdims=True)
    return ops.cast(exact * ops.rsqrt(ops.maximum(squared, _SMALLEST_NORM**2)), code.dtype)

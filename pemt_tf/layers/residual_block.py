"""Residual blocks of both ResNets: convolutions beside a shortcut (docs/reference_model.md sections 7 and 8)."""

from __future__ import annotations

import functools
from typing import Annotated

import keras
from keras import KerasTensor, ops

from pemt_tf.config.allowed_values import Truth, list_of, whole
from pemt_tf.config.argument_checks import check_arguments, require_argument
from pemt_tf.layers.batch_normalization import BatchNormalization
from pemt_tf.layers.constructor_arguments import constructor_arguments
from pemt_tf.layers.folded_conv import FoldedConv
from pemt_tf.layers.rematerialization import remat

_Strides = Annotated[tuple[int, ...], list_of(whole())]


@keras.saving.register_keras_serializable("pemt_tf")
class ResidualBlock(keras.layers.Layer):
    """ReLU(shortcut(x) + branch(x)); the branch is convolution, batch norm and ReLU in turn, without the last ReLU.

    Args:
        steps: the branch, a tuple of (name, filters, kernel, strides); names are those of the reference.
        shortcut_strides: strides of the 1 x 1 projection on the shortcut, or None for the identity.
        remat: whether training keeps only the block's input and recomputes the rest in the backward pass.
    """

    @check_arguments
    def __init__(self, steps, shortcut_strides: _Strides | None = None, remat: Truth = False, **kwargs):
        super().__init__(**kwargs)
        self.remat = remat
        fits = isinstance(steps, (list, tuple)) and len(steps) > 0 and all(len(step) == 4 for step in steps)
        require_argument(fits, self, "steps", steps, "a list of (name, filters, kernel, strides), at least one")
        self.steps = tuple((name, filters, tuple(kernel), tuple(strides)) for name, filters, kernel, strides in steps)
        self.shortcut_strides = shortcut_strides
        policy = self.dtype_policy
        self.convolutions = [FoldedConv(f, k, s, dtype=policy, name=name) for name, f, k, s in self.steps]
        last = len(self.steps) - 1
        self.norms = [
            # The last norm of a branch starts at 0: every block starts as its shortcut.
            BatchNormalization(
                gamma_initializer="zeros" if index == last else "ones", dtype=policy, name=f"{step[0]}_norm"
            )
            for index, step in enumerate(self.steps)
        ]
        self.shortcut = self.shortcut_norm = None
        if self.shortcut_strides is not None:
            ones = (1,) * len(self.shortcut_strides)
            self.shortcut = FoldedConv(self.steps[-1][1], ones, self.shortcut_strides, dtype=policy, name="shortcut")
            self.shortcut_norm = BatchNormalization(dtype=policy, name="shortcut_norm")

    def build(self, input_shape: tuple) -> None:
        axes = (None,) * (len(input_shape) - 1)
        channels = input_shape[-1]
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            convolution.build((*axes, channels))
            channels = convolution.filters
            norm.build((*axes, channels))
        if self.shortcut is not None and self.shortcut_norm is not None:
            self.shortcut.build(input_shape)
            self.shortcut_norm.build((*axes, channels))
        self.built = True

    def call(self, x: KerasTensor, training: bool = False, frames: int | None = None) -> KerasTensor:
        """Runs the block; `frames` as in `FoldedConv.call`."""
        forward = functools.partial(self._forward, training=training, frames=frames)
        # Running statistics are kept outside of `forward`, which may run twice.
        outputs, statistics = remat(forward)(x) if self.remat and training else forward(x)
        for norm, values in zip(self._all_norms(), statistics, strict=True):
            norm.keep(values)
        return outputs

    def _forward(self, x: KerasTensor, training: bool, frames: int | None) -> tuple[KerasTensor, list]:
        branch, all_statistics = x, []
        for index, (convolution, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            branch, statistics = norm.normalize(convolution(branch, frames=frames), training)
            all_statistics.append(statistics)
            if index + 1 < len(self.steps):
                branch = ops.relu(branch)
        if self.shortcut is not None and self.shortcut_norm is not None:
            x, statistics = self.shortcut_norm.normalize(self.shortcut(x, frames=frames), training)
            all_statistics.append(statistics)
        return ops.relu(x + branch), all_statistics

    def _all_norms(self) -> list:
        return self.norms if self.shortcut is None else [*self.norms, self.shortcut_norm]

    def get_config(self) -> dict:
        return {**super().get_config(), **constructor_arguments(self, ResidualBlock)}

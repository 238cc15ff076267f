"""Residual blocks of both ResNets: a chain of convolutions beside a shortcut (REFERENCE.md sections 7 and 8)."""

from __future__ import annotations

import keras
from keras import ops

from pemt_tf.layers.batch_normalization import BatchNormalization
from pemt_tf.layers.folded_conv import FoldedConv


@keras.saving.register_keras_serializable("pemt_tf")
class ResidualBlock(keras.layers.Layer):
    """ReLU(shortcut(x) + branch(x)); the branch is convolution, batch norm and ReLU in turn, without the last ReLU.

    Args:
        steps: the branch, a tuple of (name, filters, kernel, strides); names are those of the reference.
        shortcut_strides: strides of the 1 x 1 projection on the shortcut, or None for the identity.
    """

    def __init__(self, steps, shortcut_strides=None, **kwargs):
        super().__init__(**kwargs)
        self.steps = tuple((name, filters, tuple(kernel), tuple(strides)) for name, filters, kernel, strides in steps)
        self.shortcut_strides = None if shortcut_strides is None else tuple(shortcut_strides)
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

    def build(self, input_shape):
        axes = (None,) * (len(input_shape) - 1)
        channels = input_shape[-1]
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            convolution.build((*axes, channels))
            channels = convolution.filters
            norm.build((*axes, channels))
        if self.shortcut is not None:
            self.shortcut.build(input_shape)
            self.shortcut_norm.build((*axes, channels))
        self.built = True

    def call(self, x, training=False):
        branch = x
        for index, (convolution, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            branch = norm(convolution(branch), training=training)
            if index + 1 < len(self.steps):
                branch = ops.relu(branch)
        if self.shortcut is not None:
            x = self.shortcut_norm(self.shortcut(x), training=training)
        return ops.relu(x + branch)

    def get_config(self):
        return {**super().get_config(), "steps": self.steps, "shortcut_strides": self.shortcut_strides}

"""Convolutions with the reference's symmetric padding; 3-D ones are folded into 2-D ones where a kernel side is 1."""

from __future__ import annotations

import math

import keras
from keras import ops


@keras.saving.register_keras_serializable("pemt_tf")
class FoldedConv(keras.layers.Layer):
    """Bias-free convolution, channels last, padded by kernel // 2 on both sides of every axis.

    "same" padding would pad asymmetrically at stride 2. On images [batch, height, width, channels] it is a plain 2-D
    convolution. On video [batch, time, height, width, channels] a kernel of 1 x k x k is applied to all frames as a
    batch of images, and one of k x 1 x 1 to [batch, time, height * width, channels]: the 2-D convolutions of the
    backends are several times faster on CPU than their 3-D ones.

    Args:
        filters: output channels.
        kernel: kernel sides, (height, width) or (time, height, width), all odd.
        strides: as many as kernel sides.
    """

    def __init__(self, filters: int, kernel: tuple[int, ...], strides: tuple[int, ...] | None = None, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_size = tuple(kernel)
        self.strides = tuple(strides or (1,) * len(kernel))

    def build(self, input_shape):
        # He normal over the fan-out, the reference's initializer (REFERENCE.md section 10).
        deviation = math.sqrt(2.0 / (self.filters * math.prod(self.kernel_size)))
        self.kernel = self.add_weight(
            name="kernel",
            shape=(*self.kernel_size, input_shape[-1], self.filters),
            initializer=keras.initializers.RandomNormal(stddev=deviation),
        )
        self.built = True

    def call(self, x):
        if len(self.kernel_size) == 2:
            return self._convolve(x, self.kernel, self.strides)
        time, height, width = self.kernel_size
        if time == 1 and self.strides[0] == 1:
            return self._per_frame(x)
        if height == width == 1 and self.strides[1:] == (1, 1):
            return self._over_time(x)
        return self._convolve(x, self.kernel, self.strides)

    def _per_frame(self, x):
        shape = ops.shape(x)
        images = ops.reshape(x, (-1, *shape[2:]))
        images = self._convolve(images, self.kernel[0], self.strides[1:])
        return ops.reshape(images, (-1, shape[1], *ops.shape(images)[1:]))

    def _over_time(self, x):
        shape = ops.shape(x)
        rows = ops.reshape(x, (-1, shape[1], shape[2] * shape[3], shape[4]))
        rows = self._convolve(rows, self.kernel[:, 0], (self.strides[0], 1))
        return ops.reshape(rows, (-1, ops.shape(rows)[1], shape[2], shape[3], self.filters))

    def _convolve(self, x, kernel, strides):
        sides = kernel.shape[:-2]
        # A stride over a kernel side of 1 only skips positions, so skip them first: the filter gradient of the strided
        # convolution corrupts memory in oneDNN at few channels (TensorFlow 2.16 and 2.21 on CPU).
        skips = [stride if side == 1 else 1 for side, stride in zip(sides, strides, strict=True)]
        if any(skip > 1 for skip in skips):
            x = x[(slice(None), *(slice(None, None, skip) for skip in skips))]
            strides = tuple(stride // skip for stride, skip in zip(strides, skips, strict=True))
        if any(side > 1 for side in sides):
            x = ops.pad(x, ((0, 0), *((side // 2, side // 2) for side in sides), (0, 0)))
        return ops.conv(x, kernel, strides=strides, padding="valid", data_format="channels_last")

    def compute_output_shape(self, input_shape):
        sides = zip(input_shape[1:-1], self.kernel_size, self.strides, strict=True)
        outer = [None if n is None else (n + 2 * (k // 2) - k) // s + 1 for n, k, s in sides]
        return (input_shape[0], *outer, self.filters)

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel": self.kernel_size,
            "strides": self.strides,
        }

"""Convolutions with the reference's symmetric padding, made of the products that run fastest on CPU."""

from __future__ import annotations

import math
from typing import Annotated

import keras
from keras import ops

from pemt_tf.config.allowed_values import Count, list_of, whole
from pemt_tf.config.argument_checks import check_arguments, require_argument

_Sides = Annotated[tuple[int, ...], list_of(whole())]


@keras.saving.register_keras_serializable("pemt_tf")
class FoldedConv(keras.layers.Layer):
    """Bias-free convolution, channels last, padded by kernel // 2 on both sides of every axis.

    "same" padding would pad asymmetrically at stride 2. What is computed how (benchmarks/operations.py has the times):

    - a kernel of 1 x 1 x 1 is a matrix product of all positions. Strides only skip positions, so those go first (and
      the filter gradient of such a strided convolution corrupts memory in oneDNN at few channels);
    - a kernel of k x 1 x 1 on video is one product with all k taps side by side, whose parts are shifted and added:
      the filter gradient of the convolution takes far longer;
    - a kernel of 1 x k x k on video is a 2-D convolution of all frames;
    - others are what they seem.

    Args:
        filters: output channels.
        kernel: kernel sides, (height, width) or (time, height, width), all odd.
        strides: as many as kernel sides.
    """

    @check_arguments
    def __init__(self, filters: Count, kernel: _Sides, strides: _Sides | None = None, **kwargs):
        super().__init__(**kwargs)
        odd = len(kernel) in (2, 3) and all(side % 2 for side in kernel)
        require_argument(odd, self, "kernel", kernel, "two or three sides, all odd")
        strides = strides or (1,) * len(kernel)
        require_argument(len(strides) == len(kernel), self, "strides", strides, f"{len(kernel)}, one for each side")
        self.filters, self.kernel_size, self.strides = filters, kernel, strides

    def build(self, input_shape):
        # He normal over the fan-out, the reference's initializer (docs/reference_model.md section 10).
        deviation = math.sqrt(2.0 / (self.filters * math.prod(self.kernel_size)))
        self.kernel = self.add_weight(
            name="kernel",
            shape=(*self.kernel_size, input_shape[-1], self.filters),
            initializer=keras.initializers.RandomNormal(stddev=deviation),
        )
        self.built = True

    def call(self, x):
        sides = self.kernel_size
        if max(sides) == 1:
            return self._pointwise(x)
        if len(sides) == 3 and sides[1:] == (1, 1) and max(self.strides) == 1:
            return self._over_time(x)
        if len(sides) == 3 and sides[0] == self.strides[0] == 1:
            shape = ops.shape(x)
            images = self._convolve(ops.reshape(x, (-1, *shape[2:])), self.kernel[0], self.strides[1:])
            return ops.reshape(images, (-1, shape[1], *ops.shape(images)[1:]))
        return self._convolve(x, self.kernel, self.strides)

    def _pointwise(self, x):
        if max(self.strides) > 1:
            x = _skip(x, self.strides)
        shape = ops.shape(x)
        rows = ops.matmul(ops.reshape(x, (-1, x.shape[-1])), ops.reshape(self.kernel, (x.shape[-1], self.filters)))
        return ops.reshape(rows, (*shape[:-1], self.filters))

    def _over_time(self, x):
        taps, channels = self.kernel_size[0], x.shape[-1]
        kernel = ops.reshape(ops.moveaxis(self.kernel[:, 0, 0], 0, 1), (channels, taps * self.filters))
        shape = ops.shape(x)
        products = ops.reshape(ops.matmul(ops.reshape(x, (-1, channels)), kernel), (*shape[:-1], taps * self.filters))
        # Every part moves by its tap. Padded first and cut once at the end, because the gradient of a cut is slow.
        border = taps // 2
        shifts = [((0, 0), (taps - 1 - tap, tap), *((0, 0),) * 3) for tap in range(taps)]
        parts = zip(ops.split(products, taps, axis=-1), shifts, strict=True)
        total = sum(ops.pad(part, shift) for part, shift in parts)
        return ops.slice(total, (0, border, 0, 0, 0), (*shape[:-1], self.filters))

    def _convolve(self, x, kernel, strides):
        if max(strides) == 1:
            return ops.conv(x, kernel, strides=strides, padding="same", data_format="channels_last")
        sides = kernel.shape[:-2]
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


def _skip(x, strides):
    """Every stride-th position of each axis: pooling over windows of one, a fraction of the time of slicing."""
    shape = ops.shape(x)
    images = ops.reshape(x, (-1, *shape[-3:])) if strides[0] == 1 and len(strides) == 3 else x
    strides = strides[1:] if images is not x else strides
    images = ops.average_pool(images, 1, strides, padding="valid", data_format="channels_last")
    return images if len(images.shape) == len(shape) else ops.reshape(images, (*shape[:2], *ops.shape(images)[1:]))

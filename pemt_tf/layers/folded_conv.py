"""Convolutions with the reference's symmetric padding, as what runs fastest on the device."""

from __future__ import annotations

import math
from typing import Annotated, Any

import keras
from keras import KerasTensor, ops

from pemt_tf.config.allowed_values import Count, list_of, whole
from pemt_tf.config.argument_checks import check_arguments, require_argument
from pemt_tf.device_choices import DeviceChoices, device_choices

_FEW_CHANNELS = 8  # below which a GPU's convolution leaves most of its units idle
_ALIGNMENT = 8
_Sides = Annotated[tuple[int, ...], list_of(whole())]


@keras.saving.register_keras_serializable("pemt_tf")
class FoldedConv(keras.layers.Layer):
    """Bias-free convolution, channels last, padded by kernel // 2 on both sides of every axis.

    "same" padding would pad asymmetrically at stride 2. Ways to compute it, of which `DeviceChoices` chooses (times on
    CPU: benchmarks/operations.py):

    - a kernel of 1 x 1 x 1 is a matrix product of all positions. Strides only skip positions, so on CPU those go first
      (and the filter gradient of such a strided convolution corrupts memory in oneDNN at few channels);
    - a kernel of k x 1 x 1 on video is a 2-D convolution over time and positions. On CPU, whose filter gradient of it
      takes far longer, it is one product with all k taps side by side, whose parts are shifted and added;
    - a kernel of 1 x k x k on video is a 2-D convolution of all frames;
    - a kernel over time and space of few channels, a stem, is on a GPU a 2-D convolution too, whose input has the
      frames under the kernel side by side in its channels;
    - any other kernel is a plain convolution.

    Args:
        filters: output channels.
        kernel: kernel sides, (height, width) or (time, height, width), all odd.
        strides: one for each kernel side.
    """

    @check_arguments
    def __init__(self, filters: Count, kernel: _Sides, strides: _Sides | None = None, **kwargs):
        super().__init__(**kwargs)
        odd = len(kernel) in (2, 3) and all(side % 2 for side in kernel)
        require_argument(odd, self, "kernel", kernel, "two or three sides, all odd")
        strides = strides or (1,) * len(kernel)
        require_argument(len(strides) == len(kernel), self, "strides", strides, f"{len(kernel)}, one for each side")
        self.filters, self.kernel_size, self.strides = filters, kernel, strides

    def build(self, input_shape: tuple) -> None:
        # He normal over the fan-out, the reference's initializer (docs/reference_model.md section 10).
        deviation = math.sqrt(2.0 / (self.filters * math.prod(self.kernel_size)))
        self.kernel = self.add_weight(
            name="kernel",
            shape=(*self.kernel_size, input_shape[-1], self.filters),
            initializer=keras.initializers.RandomNormal(stddev=deviation),
        )
        self.built = True

    def call(self, x: KerasTensor, frames: int | None = None) -> KerasTensor:
        """Convolves.

        Args:
            x: [batch, height, width, channels], or [batch, time, height, width, channels] for a kernel with time.
            frames: where `x` holds the frames of all clips as images, [batch * frames, height, width, channels], the
                number of frames of a clip; the outputs are images then too. None: `x` has an axis for each side.
        """
        paths, video = device_choices(), len(self.kernel_size) == 3
        if video and frames is None and paths.frames == "images":
            return self._by_images(x, paths)
        if frames is not None:
            return self._of_images(x, frames, paths)
        if max(self.kernel_size) == 1:
            return self._pointwise(x, self.kernel, self.strides, paths)
        if video and self.kernel_size[1:] == (1, 1) and max(self.strides) == 1:
            return self._over_time(x)
        if video and self.kernel_size[0] == self.strides[0] == 1:
            shape = ops.shape(x)
            images = self._convolve(ops.reshape(x, (-1, *shape[2:])), self.kernel[0], self.strides[1:], paths)
            return ops.reshape(images, (-1, shape[1], *ops.shape(images)[1:]))
        return self._convolve(x, self.kernel, self.strides, paths)

    def _by_images(self, x: KerasTensor, paths: DeviceChoices) -> KerasTensor:
        """Video in and out, images between."""
        time = ops.shape(x)[1]
        if self.strides[0] > 1 or min(self.kernel_size[0], self.kernel_size[1]) > 1:
            few = x.shape[-1] < _FEW_CHANNELS and paths.stem == "windows"
            return self._of_windows(x, paths) if few else self._convolve(x, self.kernel, self.strides, paths)
        images = self._of_images(ops.reshape(x, (-1, *ops.shape(x)[2:])), time, paths)
        return ops.reshape(images, (-1, time, *ops.shape(images)[1:]))

    def _of_images(self, x: KerasTensor, frames: int, paths: DeviceChoices) -> KerasTensor:
        """Images in and out; the stride over time is 1."""
        sides, shape = self.kernel_size, ops.shape(x)
        if sides[0] == 1:
            compute = self._pointwise if max(sides) == 1 else self._convolve
            kernel = ops.reshape(self.kernel, self.kernel.shape[1:])  # no copy, unlike a slice
            return compute(x, kernel, self.strides[1:], paths)
        if sides[1:] == (1, 1) and max(self.strides) == 1 and paths.temporal == "convolution":
            # An image of a clip has a row for each frame and a column for each position.
            clips = ops.reshape(x, (-1, frames, shape[1] * shape[2], x.shape[-1]))
            kernel = ops.reshape(self.kernel, (sides[0], 1, x.shape[-1], self.filters))
            return ops.reshape(self._convolve(clips, kernel, (1, 1), paths), (*shape[:-1], self.filters))
        video = ops.reshape(x, (-1, frames, *shape[1:]))
        over_time = sides[1:] == (1, 1) and max(self.strides) == 1
        y = self._over_time(video) if over_time else self._convolve(video, self.kernel, self.strides, paths)
        return ops.reshape(y, (-1, *ops.shape(y)[2:]))

    def _of_windows(self, x: KerasTensor, paths: DeviceChoices) -> KerasTensor:
        """Each output frame is a convolution of one image: the frames under the kernel, side by side in channels."""
        (taps, *sides), (stride, *strides), channels = self.kernel_size, self.strides, x.shape[-1]
        border = taps // 2
        time = (ops.shape(x)[1] + 2 * border - taps) // stride + 1
        x = ops.pad(x, ((0, 0), (border, border), (0, 0), (0, 0), (0, 0)))
        parts = [x[:, tap : tap + (time - 1) * stride + 1 : stride] for tap in range(taps)]
        # Half precision is fast for multiples of eight channels; the others are zeros, and so are their weights.
        spare = -taps * channels % _ALIGNMENT
        parts += [ops.zeros_like(parts[0][..., :1])] * spare
        images = ops.concatenate(parts, axis=-1)
        images = ops.reshape(images, (-1, *ops.shape(images)[2:]))
        kernel = ops.reshape(ops.moveaxis(self.kernel, 0, 2), (*sides, taps * channels, self.filters))
        kernel = ops.pad(kernel, ((0, 0), (0, 0), (0, spare), (0, 0)))
        images = self._convolve(images, kernel, tuple(strides), paths)
        return ops.reshape(images, (-1, time, *ops.shape(images)[1:]))

    def _pointwise(self, x: KerasTensor, kernel, strides, paths: DeviceChoices) -> KerasTensor:
        if max(strides) > 1 and paths.skips != "convolution":
            x = _skip(x, strides) if paths.skips == "pooling" else _slice(x, strides)
            strides = (1,) * len(strides)
        if paths.pointwise == "convolution" and len(x.shape) == 4:
            return ops.conv(x, kernel, strides=strides, padding="valid", data_format="channels_last")
        shape = ops.shape(x)
        rows = ops.matmul(ops.reshape(x, (-1, x.shape[-1])), ops.reshape(kernel, (x.shape[-1], self.filters)))
        return ops.reshape(rows, (*shape[:-1], self.filters))

    def _over_time(self, x: KerasTensor) -> KerasTensor:
        taps, channels = self.kernel_size[0], x.shape[-1]
        kernel = ops.reshape(ops.moveaxis(self.kernel[:, 0, 0], 0, 1), (channels, taps * self.filters))
        shape = ops.shape(x)
        products = ops.reshape(ops.matmul(ops.reshape(x, (-1, channels)), kernel), (*shape[:-1], taps * self.filters))
        # Every part is shifted by its tap: padded first and cut once at the end, because the gradient of a cut is slow.
        border = taps // 2
        shifts = [((0, 0), (taps - 1 - tap, tap), *((0, 0),) * 3) for tap in range(taps)]
        parts = zip(ops.split(products, taps, axis=-1), shifts, strict=True)
        total = sum(ops.pad(part, shift) for part, shift in parts)
        return ops.slice(total, (0, border, 0, 0, 0), (*shape[:-1], self.filters))

    def _convolve(self, x: KerasTensor, kernel, strides, paths: DeviceChoices) -> KerasTensor:
        if max(strides) == 1:
            return ops.conv(x, kernel, strides=strides, padding="same", data_format="channels_last")
        sides = kernel.shape[:-2]
        if paths.padding == "convolution" and len(sides) == 2:
            return _convolve_padded(x, kernel, strides)
        x = ops.pad(x, ((0, 0), *((side // 2, side // 2) for side in sides), (0, 0)))
        return ops.conv(x, kernel, strides=strides, padding="valid", data_format="channels_last")

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        sides = zip(input_shape[1:-1], self.kernel_size, self.strides, strict=True)
        outer = [None if n is None else (n + 2 * (k // 2) - k) // s + 1 for n, k, s in sides]
        return (input_shape[0], *outer, self.filters)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel": self.kernel_size,
            "strides": self.strides,
        }


def _skip(x: KerasTensor, strides) -> KerasTensor:
    """Every stride-th position of each axis: pooling over windows of one, a fraction of the time of slicing."""
    shape = ops.shape(x)
    images = ops.reshape(x, (-1, *shape[-3:])) if strides[0] == 1 and len(strides) == 3 else x
    strides = strides[1:] if images is not x else strides
    images = ops.average_pool(images, 1, strides, padding="valid", data_format="channels_last")
    return images if len(images.shape) == len(shape) else ops.reshape(images, (*shape[:2], *ops.shape(images)[1:]))


def _slice(x: KerasTensor, strides) -> KerasTensor:
    """Every stride-th position of each axis."""
    return x[(slice(None), *(slice(None, None, stride) for stride in strides))]


def _convolve_padded(images: KerasTensor, kernel, strides) -> KerasTensor:
    """A 2-D convolution that pads by itself, symmetrically: no copy of its input with a border."""
    import tensorflow as tf

    sides = kernel.shape[:2]
    borders: Any = [[0, 0], *([side // 2, side // 2] for side in sides), [0, 0]]
    kernel = tf.convert_to_tensor(kernel)
    return tf.nn.conv2d(images, tf.cast(kernel, images.dtype), [1, *strides, 1], borders, data_format="NHWC")

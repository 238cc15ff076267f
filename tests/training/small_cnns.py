"""CNNs that are traced at once, for tests of what devices do with a whole pretraining model around them.

Each has what devices must share: weights and batch statistics. The real CNNs on two devices are in test_two_devices, in
fine-tuning.
"""

from __future__ import annotations

import functools

import keras
from keras import ops

from pemt_tf.layers.batch_normalization import BatchNormalization
from pemt_tf.models import av_transformer


class SmallCNN(keras.layers.Layer):
    """A map of every line of pixels, batch normalization, and the mean of squares over all lines.

    The map has no bias and more than one input: batch normalization takes away any gradient of a bias or a mere factor,
    and what Adam makes of the rounding that is left differs from device to device.

    Args:
        axes: of the input, but for the last two.
        inputs: how many numbers of the last two are looked at.
        depth, width, remat: of the real CNN; without effect.
    """

    feature_size = 8

    def __init__(self, axes: int, inputs: int, depth: int, width: int, remat: bool, **kwargs):
        super().__init__(**kwargs)
        self.axes, self.inputs = axes, inputs
        self.map = keras.layers.Dense(self.feature_size, use_bias=False, name="map")
        self.norm = BatchNormalization(name="norm")

    def build(self, input_shape=None):
        lines = (None,) * self.axes
        self.map.build((*lines, self.inputs))
        self.norm.build((*lines, self.feature_size))
        self.built = True

    def call(self, x, training=False):
        x = x[..., : self.inputs // x.shape[-1], :]  # the crop of evaluation is larger
        x = ops.reshape(x, (-1, *x.shape[1:-2], self.inputs))
        x = self.norm(self.map(x), training=training)
        return ops.mean(ops.square(x) + x, axis=tuple(range(1, self.axes)))


def use_small_cnns(patch=setattr) -> None:
    """Every `AVTransformer` that is made from now on has them; for the geometry of `tests.conftest.SMALL`.

    Args:
        patch: `setattr`, or that of `pytest.MonkeyPatch`.
    """
    patch(av_transformer, "VisualResNet3D", functools.partial(SmallCNN, 3, 16 * 3))
    patch(av_transformer, "AudioResNet", functools.partial(SmallCNN, 2, 16))

"""The visual CNN: a 3-D ResNet like SlowFast's slow pathway (docs/reference_model.md section 7)."""

from __future__ import annotations

import functools
import itertools

import keras
from keras import KerasTensor, ops

from pemt_tf.config.allowed_values import Count, ResNetDepth, Truth
from pemt_tf.config.argument_checks import check_arguments
from pemt_tf.device_choices import device_choices
from pemt_tf.layers.batch_normalization import BatchNormalization
from pemt_tf.layers.folded_conv import FoldedConv
from pemt_tf.layers.rematerialization import remat
from pemt_tf.layers.residual_block import ResidualBlock

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}
_TEMPORAL_KERNELS = (1, 1, 3, 3)
_SPATIAL_STRIDES = (1, 2, 2, 2)


def stages_of(blocks: list, depth: int) -> list[list]:
    """Divides the blocks of a ResNet into its four stages."""
    ends = list(itertools.accumulate(BLOCKS[depth]))
    return [blocks[end - count : end] for count, end in zip(BLOCKS[depth], ends, strict=True)]


@keras.saving.register_keras_serializable("pemt_tf")
class VisualResNet3D(keras.layers.Layer):
    """Frames to one feature vector per segment.

    Args:
        depth: 18 or 34 (basic blocks) or 50 (bottlenecks).
        width: channels of the stem; the features have 32 x width channels at depth 50, 8 x width below.
        remat: whether to keep less for the backward pass, see `ResidualBlock`.
    """

    @check_arguments
    def __init__(self, depth: ResNetDepth = 50, width: Count = 64, remat: Truth = False, **kwargs):
        super().__init__(**kwargs)
        self.depth, self.width, self.remat = depth, width, remat
        policy = self.dtype_policy
        self.stem = FoldedConv(width, (5, 7, 7), (2, 2, 2), dtype=policy, name="stem")
        self.stem_norm = BatchNormalization(dtype=policy, name="stem_norm")
        self.blocks = []  # one flat list: Keras 3.12 does not save layers in nested lists
        channels = width
        for stage, count in enumerate(BLOCKS[depth]):
            for index in range(count):
                stride = _SPATIAL_STRIDES[stage] if index == 0 else 1
                steps = self._branch(stage, stride)
                projected = stride != 1 or channels != steps[-1][1]
                self.blocks.append(
                    ResidualBlock(
                        steps,
                        (1, stride, stride) if projected else None,
                        remat,
                        dtype=policy,
                        name=f"stage{stage + 2}_block{index}",
                    )
                )
                channels = steps[-1][1]
        self.feature_size = channels

    def _branch(self, stage: int, stride: int) -> tuple:
        inner, time = self.width * 2**stage, _TEMPORAL_KERNELS[stage]
        if self.depth < 50:
            return (("a", inner, (time, 3, 3), (1, stride, stride)), ("b", inner, (1, 3, 3), (1, 1, 1)))
        return (
            ("a", inner, (time, 1, 1), (1, 1, 1)),
            ("b", inner, (1, 3, 3), (1, stride, stride)),
            ("c", 4 * inner, (1, 1, 1), (1, 1, 1)),
        )

    def build(self, input_shape: tuple | None = None) -> None:
        self.stem.build((None, None, None, None, 3))
        self.stem_norm.build((None, None, None, None, self.width))
        channels = self.width
        for block in self.blocks:
            block.build((None, None, None, None, channels))
            channels = block.steps[-1][1]
        self.built = True

    def feature_maps(self, frames: KerasTensor, training: bool = False) -> list:
        """Outputs of the stem (after pooling) and of the four stages, [batch, time, height, width, channels] each."""
        start = functools.partial(self._start, training=training)
        x, statistics = remat(start)(frames) if self.remat and training else start(frames)
        self.stem_norm.keep(statistics)
        maps, frames = [x], None
        if device_choices().frames == "images":
            frames, x = ops.shape(x)[1], _images(x)
        for blocks in stages_of(self.blocks, self.depth):
            for block in blocks:
                x = block(x, training=training, frames=frames)
            maps.append(x if frames is None else ops.reshape(x, (-1, frames, *ops.shape(x)[1:])))
        return maps

    def _start(self, frames: KerasTensor, training: bool) -> tuple:
        """Stem, norm, ReLU and pooling, and the statistics of the norm."""
        x = self.stem(frames)
        if device_choices().frames == "images":
            time, x = ops.shape(x)[1], _images(x)
            x, statistics = self.stem_norm.normalize(x, training)
            x = ops.relu(x)
            return _pool(ops.reshape(x, (-1, time, *ops.shape(x)[1:]))), statistics
        x, statistics = self.stem_norm.normalize(x, training)
        return _pool(ops.relu(x)), statistics

    def call(self, frames: KerasTensor, training: bool = False) -> KerasTensor:
        """Computes features.

        Args:
            frames: [batch, frames, height, width, 3], normalized as by `features.frame_crops.normalize`.
            training: whether batch statistics are used.

        Returns:
            [batch, feature_size]: the mean over time and space of the last stage. At the reference's sizes (112
            or 128 pixels) this equals its window average.
        """
        return ops.mean(self.feature_maps(frames, training=training)[-1], axis=(1, 2, 3))

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (input_shape[0], self.feature_size)

    def get_config(self) -> dict:
        return {**super().get_config(), "depth": self.depth, "width": self.width, "remat": self.remat}


def _images(x: KerasTensor) -> KerasTensor:
    """[batch, time, height, width, channels] to [batch * time, height, width, channels]."""
    return ops.reshape(x, (-1, *ops.shape(x)[2:]))


def _pool(x: KerasTensor) -> KerasTensor:
    """The maxima of 3 x 3 windows at stride 2 of [batch, time, height, width, channels], which are not negative.

    Frames are pooled as images: the gradient of TensorFlow's 3-D max-pooling on CPU goes, whole, to every value
    within 1e-5 of the maximum of its window. That of 2-D pooling goes to one of them, the first, as the reference's.
    """
    shape = ops.shape(x)
    # After ReLU a border of zeros is as good as the reference's border of minus infinity.
    frames = ops.pad(_images(x), ((0, 0), (1, 1), (1, 1), (0, 0)))
    pooled = ops.max_pool(frames, 3, 2, padding="valid", data_format="channels_last")
    return ops.reshape(pooled, (-1, shape[1], *ops.shape(pooled)[1:]))

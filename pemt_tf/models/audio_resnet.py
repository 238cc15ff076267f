"""The audio CNN: a 2-D ResNet on log-mel spectrograms, early stages separable (docs/reference_model.md section 8)."""

from __future__ import annotations

import keras
from keras import ops

from pemt_tf.config.allowed_values import Count, ResNetDepth, Truth
from pemt_tf.config.argument_checks import check_arguments
from pemt_tf.layers.batch_normalization import BatchNormalization
from pemt_tf.layers.folded_conv import FoldedConv
from pemt_tf.layers.residual_block import ResidualBlock
from pemt_tf.models.visual_resnet3d import BLOCKS, stages_of


@keras.saving.register_keras_serializable("pemt_tf")
class AudioResNet(keras.layers.Layer):
    """Spectrogram to one feature vector per segment.

    Args:
        depth: 18 or 34 (basic blocks) or 50 (bottlenecks).
        width: channels of the stem; the features have 32 x width channels at depth 50, 8 x width below.
        remat: see `ResidualBlock`.
    """

    @check_arguments
    def __init__(self, depth: ResNetDepth = 50, width: Count = 32, remat: Truth = False, **kwargs):
        super().__init__(**kwargs)
        self.depth, self.width, self.remat = depth, width, remat
        policy = self.dtype_policy
        self.stem = [
            FoldedConv(width, (9, 1), dtype=policy, name="stem_frequency"),
            FoldedConv(width, (1, 9), dtype=policy, name="stem_time"),
        ]
        self.stem_norms = [
            BatchNormalization(dtype=policy, name="stem_frequency_norm"),
            BatchNormalization(dtype=policy, name="stem_time_norm"),
        ]
        self.blocks = [  # one flat list: Keras 3.12 does not save layers in nested lists
            ResidualBlock(
                self._branch(stage, 2 if index == 0 else 1),
                (2, 2) if index == 0 else None,
                remat,
                dtype=policy,
                name=f"stage{stage + 2}_block{index}",
            )
            for stage, count in enumerate(BLOCKS[depth])
            for index in range(count)
        ]
        self.feature_size = width * 8 * (4 if depth >= 50 else 1)

    def _branch(self, stage: int, stride: int):
        inner, separable = self.width * 2**stage, stage < 2
        if self.depth < 50:
            first = (
                (("a1", inner, (3, 1), (stride, 1)), ("a2", inner, (1, 3), (1, stride)))
                if separable
                else (("a", inner, (3, 3), (stride, stride)),)
            )
            return (*first, ("b", inner, (3, 3), (1, 1)))
        middle = (
            (("b1", inner, (3, 1), (stride, 1)), ("b2", inner, (1, 3), (1, stride)))
            if separable
            else (("b", inner, (3, 3), (stride, stride)),)
        )
        return (("a", inner, (1, 1), (1, 1)), *middle, ("c", 4 * inner, (1, 1), (1, 1)))

    def build(self, input_shape=None):
        channels = 1
        for convolution, norm in zip(self.stem, self.stem_norms, strict=True):
            convolution.build((None, None, None, channels))
            channels = self.width
            norm.build((None, None, None, channels))
        for block in self.blocks:
            block.build((None, None, None, channels))
            channels = block.steps[-1][1]
        self.built = True

    def feature_maps(self, log_mel, training=False) -> list:
        """Outputs of the stem and of the four stages, [batch, mel, time, channels] each."""
        x = log_mel
        for convolution, norm in zip(self.stem, self.stem_norms, strict=True):
            x = ops.relu(norm(convolution(x), training=training))
        maps = [x]
        for blocks in stages_of(self.blocks, self.depth):
            for block in blocks:
                x = block(x, training=training)
            maps.append(x)
        return maps

    def call(self, log_mel, training=False):
        """Computes features.

        Args:
            log_mel: [batch, mel_bins, mel_frames, 1], natural-log mel power.
            training: whether batch statistics are used.

        Returns:
            [batch, feature_size]: the mean over frequency and time of the last stage.
        """
        return ops.mean(self.feature_maps(log_mel, training=training)[-1], axis=(1, 2))

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.feature_size)

    def get_config(self):
        return {**super().get_config(), "depth": self.depth, "width": self.width, "remat": self.remat}

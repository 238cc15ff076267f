"""The precision in which the model computes; its weights are always float32."""

from __future__ import annotations

import keras

from pemt_tf.config.training import TrainingConfig
from pemt_tf.device_choices import visible_device
from pemt_tf.errors import PemtError


def dtype_policy(settings: TrainingConfig) -> keras.DTypePolicy:
    """The dtype policy of every layer; raises PemtError for float16 without a GPU."""
    if settings.precision == "mixed_float16" and visible_device() != "gpu":
        raise PemtError(
            "mixed_float16 needs a GPU: TensorFlow cannot pool float16 on a CPU; "
            f"use --set {settings.section}.precision=mixed_bfloat16, or float32"
        )
    return keras.DTypePolicy(settings.precision)

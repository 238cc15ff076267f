"""In which arithmetic the model computes; its weights are float32 always."""

from __future__ import annotations

import keras
import tensorflow as tf

from pemt_tf.config.training import TrainingConfig
from pemt_tf.errors import PemtError


def dtype_policy(settings: TrainingConfig, section: str) -> keras.DTypePolicy:
    """The policy of every layer.

    Args:
        settings: name the precision.
        section: of the configuration, for messages.

    Raises:
        PemtError: float16 without a GPU.
    """
    if settings.precision == "mixed_float16" and not tf.config.list_physical_devices("GPU"):
        raise PemtError(
            "mixed_float16 needs a GPU: TensorFlow cannot pool float16 on a CPU; "
            f"use --set {section}.precision=mixed_bfloat16, or float32"
        )
    return keras.DTypePolicy(settings.precision)

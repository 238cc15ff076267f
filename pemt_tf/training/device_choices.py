"""What training does differently on a GPU: the one place that chooses."""

from __future__ import annotations

import tensorflow as tf


def on_gpu() -> bool:
    """Whether training runs on GPUs: TensorFlow uses all that it sees."""
    return bool(tf.config.list_logical_devices("GPU"))

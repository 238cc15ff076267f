"""What training does differently on a GPU: the one place that chooses."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from pemt_tf.config.training import TrainingConfig

_MOST_STEPS = 8
_READY_BYTES = 2**28  # of batches on the device, besides as many that the steps of a call are working on


def gpus() -> list[str]:
    """Names of the GPUs that train: all that TensorFlow sees."""
    return [device.name for device in tf.config.list_logical_devices("GPU")]


def on_gpu() -> bool:
    """Whether training runs on GPUs."""
    return bool(gpus())


def steps_per_call(settings: TrainingConfig, batch_bytes: int) -> int:
    """The largest number of steps that one call of TensorFlow does; 1 unless set, or on a GPU with small batches.

    A step on the CPU takes much longer than a call. On a GPU small models wait for it, and batches are small as well.
    """
    if settings.steps_per_call or settings.accumulation > 1 or settings.precision == "mixed_float16" or not on_gpu():
        return max(1, settings.steps_per_call)
    return max(1, min(_MOST_STEPS, _READY_BYTES // batch_bytes))


def bytes_of(tensors: Any) -> int:
    """Size of a batch on one device: a dict of tensors, or of their specs with all dimensions known."""
    return sum(each.shape.num_elements() * each.dtype.size for each in tensors.values())


def ahead_on_gpu(batches: tf.data.Dataset, settings: TrainingConfig) -> tf.data.Dataset:
    """Copies batches to the GPU, one at least and as many as a call takes, while it computes; nothing without a GPU."""
    if not on_gpu():
        return batches
    ready = steps_per_call(settings, bytes_of(batches.element_spec))
    return batches.apply(tf.data.experimental.prefetch_to_device(gpus()[0], buffer_size=ready))


def describe(settings: TrainingConfig, strategy: tf.distribute.Strategy, optimizer, steps: int) -> str:
    """The choices in one line, for the log."""
    devices, kind = strategy.num_replicas_in_sync, "GPU" if on_gpu() else "CPU"
    return (
        f"{devices} {kind}{'s' * (devices > 1)}, {settings.precision}, XLA {'on' if settings.jit_compile else 'off'}, "
        f"{steps} step{'s' * (steps > 1)} per call, optimizer {'fused' if optimizer.fused else 'in single operations'}"
    )

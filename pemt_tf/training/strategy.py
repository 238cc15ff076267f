"""Which devices train: one, or all of them in step."""

from __future__ import annotations

import functools

import tensorflow as tf

from pemt_tf.errors import PemtError


def split_cpu(devices: int) -> None:
    """Makes the CPU look like several devices, to try data parallelism where there is no GPU.

    Raises:
        PemtError: TensorFlow has already started.
    """
    cpu = tf.config.list_physical_devices("CPU")[0]
    try:
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * devices)
    except RuntimeError:
        raise PemtError("the CPU can be split only before TensorFlow starts; call split_cpu first") from None


def use_cpu_devices(devices: int) -> None:
    """`split_cpu` for a command-line option: 1 changes nothing.

    Raises:
        PemtError: fewer than 1.
    """
    if devices < 1:
        raise PemtError(f"--cpu-devices is {devices}; it must be 1 or more")
    if devices > 1:
        split_cpu(devices)


def make_strategy() -> tf.distribute.Strategy:
    """MirroredStrategy whenever more than one GPU, or without GPUs more than one logical CPU, is visible."""
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    if len(devices) > 1:
        return _mirror(tuple(device.name for device in devices))
    return tf.distribute.get_strategy()


@functools.cache
def _mirror(devices: tuple[str, ...]) -> tf.distribute.Strategy:
    """One strategy per process: a second one numbers its collective operations like the first, and they collide."""
    return tf.distribute.MirroredStrategy(list(devices))


def require_divisible(field: str, batch_size: int, strategy: tf.distribute.Strategy, smallest: int = 1) -> None:
    """Refuses a global batch that does not split evenly into parts of at least `smallest` clips.

    Args:
        field: configuration field that holds the batch size.
        batch_size: clips, all devices together.
        strategy: whose devices share it.
        smallest: clips that a device needs at least.

    Raises:
        PemtError: with the numbers.
    """
    replicas = strategy.num_replicas_in_sync
    if batch_size % replicas or batch_size // replicas < smallest:
        raise PemtError(
            f"a batch of {batch_size} clips does not split over {replicas} devices into equal parts of at least "
            f"{smallest}; choose a multiple of {replicas * smallest} (--set {field}=...)"
        )

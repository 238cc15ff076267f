"""The devices that train: one, all of this machine in step, or all of several machines."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import tensorflow as tf

from pemt_tf.config.training import PretrainConfig, TrainingConfig
from pemt_tf.data.clip_stream import WorkerShare
from pemt_tf.device_choices import copied_ahead
from pemt_tf.errors import PemtError
from pemt_tf.training.cluster import Cluster, noticing_lost_workers, this_cluster, waiting_for_others

_COLLECTIVE_SECONDS = 3600.0  # longer than any worker may keep the others waiting in one step


def split_cpu(devices: int) -> None:
    """Splits the CPU into logical devices, to try data parallelism without a GPU; 1 changes nothing."""
    if devices < 1:
        raise PemtError(f"--cpu-devices is {devices}; it must be 1 or more")
    if devices == 1:
        return
    cpu = tf.config.list_physical_devices("CPU")[0]
    try:
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * devices)
    except RuntimeError:
        raise PemtError("the CPU can be split only before TensorFlow starts; call split_cpu first") from None


def make_strategy() -> tf.distribute.Strategy:
    """The strategy for all available devices.

    MultiWorkerMirroredStrategy if TF_CONFIG names more than one worker; else MirroredStrategy whenever more than one
    GPU, or without GPUs more than one logical CPU, is visible. Call it before anything else uses TensorFlow.
    """
    cluster = this_cluster()
    if cluster is not None:
        return _join(cluster)
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    if len(devices) > 1:
        return _mirror(tuple(device.name for device in devices))
    return tf.distribute.get_strategy()


@functools.cache
def _join(cluster: Cluster) -> tf.distribute.Strategy:
    """One strategy per process, see `_mirror`; returns when all workers are connected."""
    options = tf.distribute.experimental.CommunicationOptions(timeout_seconds=_COLLECTIVE_SECONDS)
    try:
        with waiting_for_others(cluster), noticing_lost_workers():
            return tf.distribute.MultiWorkerMirroredStrategy(communication_options=options)
    except RuntimeError as error:
        raise PemtError(f"cannot train on several machines: {error}") from None
    except tf.errors.OpError as error:
        address = cluster.addresses[cluster.index]
        raise PemtError(f"cannot be the worker at {address} of TF_CONFIG: {error.message.splitlines()[0]}") from None


def is_chief() -> bool:
    """Whether this process writes the run: the only one, or the first worker of TF_CONFIG."""
    cluster = this_cluster()
    return cluster is None or cluster.is_chief


def distribute_clips(
    strategy: tf.distribute.Strategy, clips: Callable[..., tf.data.Dataset], settings: TrainingConfig
) -> Iterable:
    """Batches for all devices of this process: the rows of the global batch in the order of the devices.

    `clips` makes the endless stream of global batches; called with `share`, the stream of a worker's rows.
    """
    if this_cluster() is None:
        alone = strategy is tf.distribute.get_strategy()  # other strategies copy ahead themselves
        return copied_ahead(clips(), settings) if alone else strategy.experimental_distribute_dataset(clips())
    replicas = strategy.num_replicas_in_sync

    def rows(context: tf.distribute.InputContext) -> tf.data.Dataset:
        own = clips(share=WorkerShare(context.input_pipeline_id, context.num_input_pipelines, replicas))
        # Otherwise the workers ask each other before every batch whether all of them still have clips.
        return own.apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))

    return _watched(strategy.distribute_datasets_from_function(rows))


def _watched(clips: tf.distribute.DistributedDataset) -> Iterator:
    """The same batches; raises PemtError if another worker is lost."""
    batches = iter(clips)
    while True:
        with noticing_lost_workers():
            batch = next(batches)
        yield batch


def require_same_step(strategy: tf.distribute.Strategy, step: int) -> None:
    """Raises PemtError if the workers would continue from different checkpoints."""
    if this_cluster() is None:
        return
    with noticing_lost_workers():
        own = strategy.experimental_distribute_values_from_function(lambda _: tf.constant([step]))
        steps = np.asarray(strategy.gather(own, axis=0)).tolist()
    if len(set(steps)) > 1:
        raise PemtError(
            f"the workers see checkpoints of different steps ({', '.join(map(str, steps))}); --output must be one "
            "folder that all machines share"
        )


@functools.cache
def _mirror(devices: tuple[str, ...]) -> tf.distribute.Strategy:
    """One strategy per process: a second one numbers its collective operations like the first, and they collide."""
    return tf.distribute.MirroredStrategy(list(devices))


def require_divisible(field: str, batch_size: int, strategy: tf.distribute.Strategy, smallest: int = 1) -> None:
    """Raises PemtError if a global batch does not split evenly over devices, with `smallest` clips or more on each."""
    replicas = strategy.num_replicas_in_sync
    if batch_size % replicas or batch_size // replicas < smallest:
        raise PemtError(
            f"a batch of {batch_size} clips does not split over {replicas} devices into equal parts of at least "
            f"{smallest}; choose a multiple of {replicas * smallest} (--set {field}=...)"
        )


def require_groups(settings: PretrainConfig, strategy: tf.distribute.Strategy) -> None:
    """Raises PemtError if groups of negatives do not split over the devices, without `gather_negatives`."""
    replicas = strategy.num_replicas_in_sync
    if not settings.gather_negatives and settings.negative_groups % replicas:
        raise PemtError(
            f"{settings.negative_groups} groups of negatives do not split over {replicas} devices; choose 0 or a "
            f"multiple of {replicas} (--set pretrain.negative_groups=...), or --set pretrain.gather_negatives=true"
        )

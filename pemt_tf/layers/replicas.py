"""Data parallelism for layers and losses: the number of this replica, and exchange with the others.

Each replica has an equal share of the global batch: rows in the order of the replicas. A single replica is number 0 of
1, and nothing here changes a bit. Only `tf.distribute` has replicas; other backends always have one.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import KerasTensor, ops


def replica_count() -> int:
    """Number of replicas that share this batch."""
    context = _context()
    return 1 if context is None else context.num_replicas_in_sync


def replica_index() -> int | KerasTensor:
    """Number of this replica, from 0; an int, or a scalar int32 tensor where one graph serves several replicas."""
    return 0 if replica_count() == 1 else _context().replica_id_in_sync_group


def own_rows(values: KerasTensor) -> KerasTensor:
    """This replica's share of rows that are equal on all replicas: [replicas * rows, ...] to [rows, ...]."""
    replicas = replica_count()
    if replicas == 1:
        return values
    rows = values.shape[0] // replicas
    start = [replica_index() * rows] + [0] * (len(values.shape) - 1)
    return ops.slice(values, start, (rows, *values.shape[1:]))


def gather_rows(values: KerasTensor) -> KerasTensor:
    """The rows of all replicas, [rows, ...] to [replicas * rows, ...]; gradients flow back to the rows' replicas."""
    replicas = replica_count()
    if replicas == 1:
        return values
    gathered = _context().all_gather(values, axis=0)
    return ops.reshape(gathered, (replicas * values.shape[0], *values.shape[1:]))  # gathering forgets the number


def sum_over_replicas(value: KerasTensor) -> KerasTensor:
    """Sum over replicas, the same for all; gradients flow to every replica."""
    return value if replica_count() == 1 else _context().all_reduce("SUM", value)


def mean_over_replicas(value: KerasTensor) -> KerasTensor:
    """Mean over replicas, the same for all; gradients flow to every replica."""
    return value if replica_count() == 1 else _context().all_reduce("MEAN", value)


def _context() -> Any:  # TensorFlow's hints have no class for it
    """The replica context of `tf.distribute`; None on other backends and between replicas."""
    if keras.backend.backend() != "tensorflow":
        return None
    import tensorflow as tf

    return tf.distribute.get_replica_context()

"""Data parallelism as layers and losses see it: which replica of how many this is, and what the others hold.

A replica has an equal share of the global batch: rows in the order of the replicas. Alone, it is number 0 of 1, and
nothing here changes a bit. Only `tf.distribute` has replicas; other backends are always alone.
"""

from __future__ import annotations

import keras
from keras import ops


def replica_count() -> int:
    """Replicas that share this batch."""
    context = _context()
    return 1 if context is None else context.num_replicas_in_sync


def replica_index():
    """Number of this replica, from 0; an int, or a scalar int32 tensor where one graph serves several replicas."""
    return 0 if replica_count() == 1 else _context().replica_id_in_sync_group


def own_rows(values):
    """This replica's share of rows that all replicas hold alike: [replicas * rows, ...] to [rows, ...]."""
    replicas = replica_count()
    if replicas == 1:
        return values
    rows = values.shape[0] // replicas
    start = [replica_index() * rows] + [0] * (len(values.shape) - 1)
    return ops.slice(values, start, (rows, *values.shape[1:]))


def gather_rows(values):
    """The rows of all replicas, [rows, ...] to [replicas * rows, ...]; gradients flow back to whose rows they are."""
    replicas = replica_count()
    if replicas == 1:
        return values
    gathered = _context().all_gather(values, axis=0)
    return ops.reshape(gathered, (replicas * values.shape[0], *values.shape[1:]))  # gathering forgets the number


def sum_over_replicas(value):
    """Sum over replicas, the same for all; gradients flow to every replica."""
    return value if replica_count() == 1 else _context().all_reduce("SUM", value)


def mean_over_replicas(value):
    """Mean over replicas, the same for all; gradients flow to every replica."""
    return value if replica_count() == 1 else _context().all_reduce("MEAN", value)


def _context():
    """The replica context of `tf.distribute`; None on other backends and between replicas."""
    if keras.backend.backend() != "tensorflow":
        return None
    import tensorflow as tf

    return tf.distribute.get_replica_context()

"""Means over the rows that count, in the same arithmetic as plain means: all counted gives the same bits.

Under data parallelism rows are spread over replicas, and not every replica has as many that count. Everything here is
weighted by how many count in the global batch: what a replica gets is its own share of the mean, and the mean over
replicas is the mean over the global batch.
"""

from __future__ import annotations

from keras import KerasTensor, ops

from pemt_tf.layers.replicas import mean_over_replicas, replica_count, sum_over_replicas


def counted_rows(mask: KerasTensor) -> KerasTensor:
    """How many rows of the global batch count, at least 1, divided by the number of replicas; scalar float32.

    A sum of one replica divided by it is this replica's share of the global mean.

    Args:
        mask: [rows] float32, 1 for rows of this replica that count, 0 for the others.
    """
    return ops.maximum(sum_over_replicas(ops.sum(mask)), 1.0) / replica_count()


def masked_mean(values: KerasTensor, mask: KerasTensor | None = None, axis=None) -> KerasTensor:
    """Mean over the rows that count, 0 if none does.

    Args:
        values: [rows, ...] float32.
        mask: [rows] float32, 1 for rows that count, 0 for the others; None counts all.
        axis: 0 for the mean over rows, None for the mean over everything.

    Returns:
        float32, [...] for axis 0 and a scalar for None; with replicas, this one's share.
    """
    if mask is None:
        return ops.mean(values, axis=axis)
    # Weights with mean 1: exactly 1 where all rows count, so that the mean of the products is then the plain mean.
    weights = mask * (mask.shape[0] / counted_rows(mask))
    return ops.mean(values * ops.reshape(weights, (-1,) + (1,) * (len(values.shape) - 1)), axis=axis)


def masked_std(values: KerasTensor, mask: KerasTensor | None = None) -> KerasTensor:
    """Standard deviation over the rows that count, [...] float32, 0 if none does; arguments as in `masked_mean`.

    With replicas it is that of the global batch, the same for all.
    """
    if mask is None and replica_count() == 1:
        return ops.std(values, axis=0)
    mean = mean_over_replicas(masked_mean(values, mask, axis=0))
    return ops.sqrt(mean_over_replicas(masked_mean(ops.square(values - mean), mask, axis=0)))


def effective_rank(values: KerasTensor, mask: KerasTensor | None = None) -> KerasTensor:
    """Number of directions in which the rows that count differ, scalar float32 without gradient, 0 if they are equal.

    The participation ratio (sum of e)^2 / (sum of e^2) of the eigenvalues e of their covariance: 1 if all lie on a
    line, the width if they spread evenly. Both sums follow from the covariance itself, as its trace and the sum of its
    squared entries, so that nothing is decomposed.

    Args:
        values: [rows, width] float32.
        mask: [rows] float32, 1 for rows that count, 0 for the others; None counts all.

    Returns:
        With replicas that of the global batch, the same for all.
    """
    values = ops.stop_gradient(values)
    centered = values - mean_over_replicas(masked_mean(values, mask, axis=0))
    weighted = centered if mask is None else centered * (mask * (mask.shape[0] / counted_rows(mask)))[:, None]
    covariance = mean_over_replicas(ops.matmul(ops.transpose(weighted), centered) / values.shape[0])
    total = ops.sum(ops.diagonal(covariance))
    return ops.square(total) / ops.maximum(ops.sum(ops.square(covariance)), 1e-30)

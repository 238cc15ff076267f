"""Means over the rows that count, in the same arithmetic as plain means: all counted gives the same bits."""

from __future__ import annotations

from keras import ops


def masked_mean(values, mask=None, axis=None):
    """Mean over the rows that count, 0 if none does.

    Args:
        values: [rows, ...] float32.
        mask: [rows] float32, 1 for rows that count, 0 for the others; None counts all.
        axis: 0 for the mean over rows, None for the mean over everything.

    Returns:
        float32, [...] for axis 0 and a scalar for None.
    """
    if mask is None:
        return ops.mean(values, axis=axis)
    # Weights with mean 1: exactly 1 where all rows count, so that the mean of the products is then the plain mean.
    weights = mask * (mask.shape[0] / ops.maximum(ops.sum(mask), 1.0))
    return ops.mean(values * ops.reshape(weights, (-1,) + (1,) * (len(values.shape) - 1)), axis=axis)


def masked_std(values, mask=None):
    """Standard deviation over the rows that count, 0 if none does; arguments as `masked_mean`, to [...] float32."""
    if mask is None:
        return ops.std(values, axis=0)
    return ops.sqrt(masked_mean(ops.square(values - masked_mean(values, mask, axis=0)), mask, axis=0))

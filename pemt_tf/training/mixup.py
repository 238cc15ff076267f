"""Mixup: mixes each clip, and its label, with another of the batch. It is ours; the authors do not use it."""

from __future__ import annotations

from keras import ops

from pemt_tf.training.classification_losses import accuracy, head_losses, summed


def mix_with_neighbours(inputs: dict, weight):
    """Mixes every clip with the one before it in the batch, the first with the last.

    `weight` [batch] float32 is each clip's share of its mixture. Two clips with different modalities are not mixed.
    Returns the mixed inputs, and the weights that were used: 1 for clips that were not mixed.
    """
    masks = {name: value for name, value in inputs.items() if name.endswith("_mask")}
    for mask in masks.values():
        same = ops.all(ops.equal(mask, _neighbour(mask)), axis=-1)
        weight = ops.where(same, weight, 1.0)
    mixed = {name: _mix(value, weight) for name, value in inputs.items() if name not in masks}
    return {**mixed, **masks}, weight


def mixed_losses(outputs: dict, labels, weight, *kind) -> dict:
    """`classification_losses` with the mean of both labels' losses, weighted by `weight` from `mix_with_neighbours`;
    `accuracy` is that of the main label."""
    own, other = (head_losses(outputs, values, *kind) for values in (labels, _neighbour(labels)))
    mixed = {name: ops.mean(weight * own[name] + (1.0 - weight) * other[name]) for name in own}
    return {**summed(mixed), **accuracy(outputs, labels)}


def _neighbour(x):
    return ops.roll(x, 1, axis=0)


def _mix(x, weight):
    weight = ops.cast(ops.reshape(weight, (-1,) + (1,) * (len(x.shape) - 1)), x.dtype)
    return x * weight + _neighbour(x) * (1.0 - weight)

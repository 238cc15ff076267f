"""Gradient norms of the parts of a model: which part learns, and from how strong a signal.

The sum of the squares of the parts' norms is the square of `gradient_norm`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

BACKBONE, HEADS, TOKENS = "backbone", "heads", "tokens"


def part_of(path: str) -> str:
    """The part that the variable of this path belongs to.

    Returns:
        In the backbone `visual_cnn`, `audio_cnn`, `transformer` (all of them) or `tokens` (the rest); else `heads`.
    """
    before, inside, after = path.partition(f"{BACKBONE}/")
    if not inside or before.count("/") > 1:
        return HEADS
    name = after.split("/")[0]
    if name.endswith("_cnn"):
        return name
    return "transformer" if name.endswith("transformer") else TOKENS


def part_norms(gradients: Sequence[Any], variables: Sequence[Any]) -> dict[str, tf.Tensor]:
    """`PART_gradient_norm` of every part that has gradients.

    Args:
        gradients: those of the whole batch, before clipping.
        variables: which of them each gradient is for.
    """
    parts: dict[str, list] = {}
    for gradient, variable in zip(gradients, variables, strict=True):
        parts.setdefault(part_of(variable.path), []).append(gradient)
    return {f"{part}_gradient_norm": tf.linalg.global_norm(own) for part, own in parts.items()}

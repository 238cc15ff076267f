"""Keeps the weights with the best score on the validation split."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from keras import ops


class HostArray:
    """An array in main memory that a checkpoint saves and restores like a variable."""

    def __init__(self, shape: tuple[int, ...], dtype: str):
        self.array = np.zeros(shape, dtype)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return self.array.shape

    def assign(self, values: np.ndarray) -> None:
        """Copies the values."""
        self.array = np.array(values, self.array.dtype)

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        return self.array if dtype is None else self.array.astype(dtype)


@dataclass(frozen=True)
class Score:
    """Score on the validation split after a step; the higher accuracy is better, then the lower loss.

    With several labels the mean average precision stands in the place of the accuracy.
    """

    step: int
    accuracy: float
    loss: float

    def better_than(self, other: Score | None) -> bool:
        """Whether this score is better; of equal scores the earlier one stays."""
        return other is None or (self.accuracy, -self.loss) > (other.accuracy, -other.loss)


class BestWeights:
    """The best `float_weights` of a built model so far; checkpoints hold `arrays`, and the score as a note."""

    def __init__(self, weights: list):
        self.weights = weights
        self.arrays = [HostArray(tuple(v.shape), v.dtype) for v in self.weights]
        self.score: Score | None = None

    def offer(self, score: Score) -> bool:
        """Copies the current weights if their score is better; returns whether it is."""
        if not score.better_than(self.score):
            return False
        self.score = score
        for array, weight in zip(self.arrays, self.weights, strict=True):
            array.assign(ops.convert_to_numpy(weight))
        return True

    def apply(self) -> None:
        """Gives the model the best weights."""
        for array, weight in zip(self.arrays, self.weights, strict=True):
            weight.assign(array.array)

"""How sure a measured share is: Wilson's interval for independent clips, the bootstrap where clips share a file."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

_NORMAL_95 = 1.959963984540054
LEVEL = 0.95
RESAMPLES = 10_000
_DRAWS_AT_ONCE = 1 << 21


@dataclass(frozen=True)
class Share:
    """A share of clips, 0 to 1, with its two 95 % intervals.

    Attributes:
        value: the share.
        wilson: honest for independent clips, also near 0 and 1; too narrow where several clips share a source file.
        bootstrap: percentile bootstrap over source files; of no width where all clips are right, or all wrong.
    """

    value: float
    wilson: tuple[float, float]
    bootstrap: tuple[float, float]

    @property
    def cautious(self) -> tuple[float, float]:
        """From the smaller of the two lower ends to the larger of the two upper ones."""
        return min(self.wilson[0], self.bootstrap[0]), max(self.wilson[1], self.bootstrap[1])


def wilson_interval(correct: int, total: int, z: float = _NORMAL_95) -> tuple[float, float]:
    """Wilson score interval of a proportion; it stays within 0 and 1 and is honest for few trials."""
    share, z2 = correct / total, z * z
    centre = (share + z2 / (2 * total)) / (1 + z2 / total)
    half = z / (1 + z2 / total) * math.sqrt(share * (1 - share) / total + z2 / (4 * total * total))
    return max(0.0, centre - half), min(1.0, centre + half)


def bootstrap_interval(
    values: np.ndarray, groups: np.ndarray, seed: int = 0, resamples: int = RESAMPLES
) -> list[tuple[float, float]]:
    """95 % percentile bootstrap intervals of the means of several columns; whole groups are drawn, with replacement.

    Args:
        values: [clips, columns].
        groups: [clips], what each clip belongs to; all different for the plain bootstrap.
        seed: of the draws.
        resamples: how many; each takes as many groups as there are.

    Returns:
        Low and high of every column.
    """
    _, numbers, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    count = len(sizes)
    sums = np.stack([np.bincount(numbers, column, count) for column in np.asarray(values, np.float64).T], axis=1)
    rng = np.random.default_rng(seed)
    means = np.empty((resamples, sums.shape[1]))
    step = max(1, _DRAWS_AT_ONCE // count)  # so many resamples at once that memory stays small
    for start in range(0, resamples, step):
        drawn = rng.integers(count, size=(min(step, resamples - start), count))
        total = sizes[drawn].sum(axis=1)
        for column in range(sums.shape[1]):
            means[start : start + step, column] = sums[drawn, column].sum(axis=1) / total
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(means, [tail, 1 - tail], axis=0)
    return list(zip(low.tolist(), high.tolist(), strict=True))


def measure_shares(hits: np.ndarray, groups: np.ndarray, seed: int = 0) -> list[Share]:
    """Shares with their intervals.

    Args:
        hits: [clips, columns] bool, at least one clip.
        groups: [clips], the source file of each clip.
        seed: of the bootstrap.
    """
    total = len(hits)
    counts = np.asarray(hits, bool).sum(axis=0)
    intervals = bootstrap_interval(hits, groups, seed)
    return [
        Share(count / total, wilson_interval(count, total), interval)
        for count, interval in zip(counts.tolist(), intervals, strict=True)
    ]

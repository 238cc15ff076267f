"""Intervals of measured shares: Wilson's for independent clips, the bootstrap where clips share a source file."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LEVEL = 0.95
RESAMPLES = 10_000
_DRAWS_AT_ONCE = 1 << 21


@dataclass(frozen=True)
class MeasuredShare:
    """A share of clips, 0 to 1, with its two 95 % intervals."""

    value: float
    wilson: tuple[float, float]  # for independent clips; too narrow where several share a source file
    bootstrap: tuple[float, float]  # over source files; no width where all clips are right, or all wrong

    @property
    def cautious(self) -> tuple[float, float]:
        """The smallest interval that holds both."""
        return min(self.wilson[0], self.bootstrap[0]), max(self.wilson[1], self.bootstrap[1])


def wilson_interval(correct: int, total: int) -> tuple[float, float]:
    """95 % Wilson score interval of a proportion; it stays within 0 and 1 and is valid for few trials."""
    from scipy.stats import binomtest  # takes a second to import

    low, high = binomtest(correct, total).proportion_ci(LEVEL, method="wilson")
    return float(low), float(high)


def bootstrap_interval(
    values: np.ndarray, groups: np.ndarray, seed: int = 0, resamples: int = RESAMPLES
) -> list[tuple[float, float]]:
    """95 % percentile bootstrap intervals, (low, high), of the means of the columns of [clips, columns].

    Each resample draws as many whole groups as there are, with replacement; `groups` [clips] all different make it the
    plain bootstrap.
    """
    _, numbers, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    count = len(sizes)
    sums = np.stack([np.bincount(numbers, column, count) for column in np.asarray(values, np.float64).T], axis=1)
    rng = np.random.default_rng(seed)
    means = np.empty((resamples, sums.shape[1]))
    step = max(1, _DRAWS_AT_ONCE // count)  # resamples at once, to bound memory
    for start in range(0, resamples, step):
        drawn = rng.integers(count, size=(min(step, resamples - start), count))
        total = sizes[drawn].sum(axis=1)
        for column in range(sums.shape[1]):
            means[start : start + step, column] = sums[drawn, column].sum(axis=1) / total
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(means, [tail, 1 - tail], axis=0)
    return list(zip(low.tolist(), high.tolist(), strict=True))


def measure_shares(hits: np.ndarray, groups: np.ndarray, seed: int = 0) -> list[MeasuredShare]:
    """The shares of hits [clips, columns] bool, of at least one clip; groups [clips] are the source files."""
    total = len(hits)
    counts = np.asarray(hits, bool).sum(axis=0)
    intervals = bootstrap_interval(hits, groups, seed)
    return [
        MeasuredShare(count / total, wilson_interval(count, total), interval)
        for count, interval in zip(counts.tolist(), intervals, strict=True)
    ]


def top5_is_certain(labels: int) -> bool:
    """Whether top-5 accuracy is 100 % whatever the model says: with five labels or fewer."""
    return labels <= 5

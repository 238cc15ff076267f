"""How well scores rank clips, label by label: average precision, area under the ROC curve and d'.

A label without a positive clip has no average precision, AUC and d', one without a negative clip neither AUC nor d'.
Such labels are not part of a mean; they are counted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

RESAMPLES, RESAMPLES_OF_MANY = 1000, 200
_MANY = 1 << 21  # scores, of all clips and labels
_WEIGHTS_AT_ONCE = 1 << 21


@dataclass(frozen=True)
class RankingMetrics:
    """Figures over all labels, and of each label."""

    clips: int
    mean_average_precision: float | None  # over labels with a positive clip; None if there is none
    chance: float | None  # mean share of positive clips over the same labels: about what random scores reach
    auc: float | None  # mean over labels with positive and negative clips
    d_prime: float | None  # that of the mean AUC; None where it is not finite
    without_positive: int  # number of labels
    without_negative: int
    per_class: list[dict]  # `label`, `clips` (positive ones), `average_precision`, `auc`, `d_prime`


class Ranking:
    """Clips in the order of one label's scores, the highest first; equal scores are one threshold.

    Args:
        scores: [clips] float, finite.
        truth: [clips] bool, whether the clip has the label.
    """

    def __init__(self, scores: np.ndarray, truth: np.ndarray):
        self.order = np.argsort(-np.asarray(scores), kind="stable")
        self._truth = np.asarray(truth, bool)[self.order]
        ranked = np.asarray(scores)[self.order]
        self._last = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(ranked) - 1)  # of each threshold

    def average_precision(self, weights: np.ndarray | None = None) -> np.ndarray:
        """sum over thresholds k of (R_k - R_(k-1)) P_k, of recall R and precision P, as in scikit-learn.

        Args:
            weights: [..., clips], how often each clip counts; once by default.

        Returns:
            [...] float64, NaN without a positive clip.
        """
        positive, everything = self._counts(weights)
        new = np.diff(positive, axis=-1, prepend=0)
        precision = np.divide(positive, everything, out=np.zeros_like(positive), where=everything > 0)
        return _ratio((new * precision).sum(axis=-1), positive[..., -1])

    def auc(self) -> float:
        """Share of pairs of a positive and a negative clip in which the positive one scores higher, ties half."""
        positive, everything = self._counts(None)
        negative = everything - positive
        between = (positive + np.append(0, positive[:-1])) / 2
        area = (np.diff(negative, prepend=0) * between).sum()
        return float(_ratio(area, positive[-1] * negative[-1]))

    def _counts(self, weights: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Weights of the positive clips, and of all clips, down to each threshold."""
        ranked = np.ones(len(self.order)) if weights is None else np.asarray(weights, np.float64)[..., self.order]
        sums = np.cumsum(ranked * self._truth, axis=-1), np.cumsum(ranked, axis=-1)
        return sums[0][..., self._last], sums[1][..., self._last]


def rank_labels(scores: np.ndarray, truth: np.ndarray, labels: list[str]) -> RankingMetrics:
    """Measures scores [clips, labels] against truth [clips, labels] bool, of at least one clip."""
    rows, shares = [], []
    without_positive = without_negative = 0
    for column, label in enumerate(labels):
        positive = int(truth[:, column].sum())
        ranking = Ranking(scores[:, column], truth[:, column])
        precision, auc = _number(ranking.average_precision()), _number(ranking.auc())
        without_positive += positive == 0
        without_negative += positive == len(truth)
        if positive:
            shares.append(positive / len(truth))
        rows.append(
            {"label": label, "clips": positive, "average_precision": precision, "auc": auc, "d_prime": d_prime(auc)}
        )
    auc = _mean([row["auc"] for row in rows])
    return RankingMetrics(
        clips=len(truth),
        mean_average_precision=_mean([row["average_precision"] for row in rows]),
        chance=_mean(shares),
        auc=auc,
        d_prime=d_prime(auc),
        without_positive=without_positive,
        without_negative=without_negative,
        per_class=rows,
    )


def mean_average_precision(scores: np.ndarray, truth: np.ndarray) -> float | None:
    """Mean over the labels that have a positive clip; None if there is none. Arguments as of `rank_labels`."""
    each = [float(Ranking(*columns).average_precision()) for columns in zip(scores.T, truth.T, strict=True)]
    return _mean([_number(value) for value in each])


def d_prime(auc: float | None) -> float | None:
    """sqrt(2) times the normal quantile of AUC: the distance of two normal distributions with that AUC, in standard
    deviations. None for an AUC of 0 or 1, where it is infinite, and for none."""
    from scipy.special import ndtri

    return None if auc is None or not 0 < auc < 1 else math.sqrt(2) * float(ndtri(auc))


def bootstrap_mean_average_precision(
    scores: np.ndarray, truth: np.ndarray, groups: np.ndarray, seed: int = 0
) -> tuple[tuple[float, float], int]:
    """95 % percentile bootstrap interval of the mean average precision, and the number of resamples.

    Each resample draws as many whole groups (source files; `groups` is [clips]) as there are, with replacement. Labels
    that lose their positive clips are not part of its mean. Very many scores get fewer resamples.
    """
    resamples = RESAMPLES if scores.size <= _MANY else RESAMPLES_OF_MANY
    _, numbers = np.unique(groups, return_inverse=True)
    count = int(numbers.max()) + 1
    rankings = [Ranking(*columns) for columns in zip(scores.T, truth.T, strict=True) if columns[1].any()]
    rng = np.random.default_rng(seed)
    means = []
    step = max(1, _WEIGHTS_AT_ONCE // len(scores))
    for start in range(0, resamples, step):
        drawn = rng.integers(count, size=(min(step, resamples - start), count))
        weights = np.stack([np.bincount(row, minlength=count) for row in drawn])[:, numbers]
        each = np.stack([ranking.average_precision(weights) for ranking in rankings])
        means.append(_ratio(np.nansum(each, axis=0), np.isfinite(each).sum(axis=0)))
    low, high = np.nanquantile(np.concatenate(means), [0.025, 0.975])
    return (float(low), float(high)), resamples


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """NaN where the whole is 0."""
    part, whole = np.asarray(part, np.float64), np.asarray(whole, np.float64)
    return np.divide(part, whole, out=np.full_like(part, np.nan), where=whole > 0)


def _number(value: np.ndarray | float) -> float | None:
    return None if np.isnan(value) else float(value)


def _mean(values: list) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known else None

"""Calibration of a classifier: reliability bins, expected calibration error, Brier score, likelihood."""

from __future__ import annotations

import numpy as np

from pemt_tf.models.finite_outputs import require_finite

BINS = 15
_SMALLEST = 1e-12  # a probability of 0 for the true class would make the mean likelihood infinite


def calibration(probabilities: np.ndarray, truth: np.ndarray, bins: int = BINS) -> dict:
    """Measures calibration.

    A bin holds the clips whose highest probability p (the confidence) has low < p <= high. With n_b clips in bin b, out
    of n, the expected calibration error is sum_b n_b / n |accuracy_b - confidence_b| (Guo et al., ICML 2017).

    Args:
        probabilities: [clips, classes], rows sum to 1.
        truth: [clips] integers.
        bins: number of bins of equal width, from 0 to 1.

    Returns:
        `expected_calibration_error`; `bins`, dicts of `low`, `high`, `clips`, `confidence`, `accuracy` (means of the
        bin, None if it is empty); `brier`, the mean over clips of sum_c (p_c - [c = true])^2, 0 to 2;
        `negative_log_likelihood`, the mean of -ln p_true, p_true taken to be at least 1e-12.
    """
    probabilities = np.asarray(probabilities, np.float64)
    require_finite(probabilities, what="the probability")
    rows = np.arange(len(truth))
    confidence = probabilities.max(axis=-1)
    correct = probabilities.argmax(axis=-1) == truth
    edges = np.linspace(0.0, 1.0, bins + 1)
    # float32 probabilities may sum to slightly more than 1.
    numbers = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    clips = np.bincount(numbers, minlength=bins)
    sums = [np.bincount(numbers, values, bins) for values in (confidence, correct)]
    means = [np.divide(total, clips, out=np.zeros(bins), where=clips > 0) for total in sums]
    error = float((clips * np.abs(means[1] - means[0])).sum() / len(truth))
    columns = (each.tolist() for each in (edges[:-1], edges[1:], clips, *means))
    targets = np.zeros_like(probabilities)
    targets[rows, truth] = 1.0
    return {
        "expected_calibration_error": error,
        "bins": [
            {"low": low, "high": high, "clips": n, "confidence": mean if n else None, "accuracy": share if n else None}
            for low, high, n, mean, share in zip(*columns, strict=True)
        ],
        "brier": float(((probabilities - targets) ** 2).sum(axis=-1).mean()),
        "negative_log_likelihood": float(-np.log(np.maximum(probabilities[rows, truth], _SMALLEST)).mean()),
    }

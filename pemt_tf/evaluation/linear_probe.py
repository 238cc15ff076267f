"""Multinomial logistic regression on frozen features, for a path of regularization strengths."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import special

from pemt_tf.models.finite_outputs import require_finite

# lambda in: mean cross-entropy + lambda / 2 ||W||^2; strongest first. It does not depend on the number of clips.
STRENGTHS = (10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001, 0.0003)
DEFAULT_STRENGTH = 0.1  # with too few clips to choose on
_MAX_ITERATIONS = 500


@dataclass(frozen=True)
class Standardization:
    """Shift and scale [width] of features to mean 0 and deviation 1 over the training clips; constant ones become 0."""

    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def fit(cls, features: np.ndarray) -> Standardization:
        """Fits to [clips, width] features; raises PemtError if one is not finite."""
        features = np.asarray(features, np.float64)
        require_finite(features, what="the feature vector to fit to")
        mean, deviation = features.mean(axis=0), features.std(axis=0)
        # Such a small deviation is only rounding.
        constant = deviation <= 1e-7 * np.maximum(np.abs(mean), 1e-30)
        return cls(mean, np.where(constant, np.inf, deviation))

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """[clips, width] float64."""
        return (np.asarray(features, np.float64) - self.mean) / self.scale


@dataclass(frozen=True)
class LogisticModel:
    """Coefficients [classes, width] and intercepts [classes]; a class that was not trained on has intercept -inf."""

    coefficients: np.ndarray
    intercepts: np.ndarray

    def log_probabilities(self, features: np.ndarray) -> np.ndarray:
        """[clips, classes] from standardized features [clips, width]."""
        return special.log_softmax(features @ self.coefficients.T + self.intercepts, axis=1)


def fit_path(
    features: np.ndarray, labels: np.ndarray, classes: int, strengths: tuple[float, ...] = STRENGTHS
) -> Iterator[tuple[float, LogisticModel]]:
    """Fits a model for every strength, strongest first, to standardized [clips, width] and at least two labels."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    axes = None
    if features.shape[1] > len(features):
        # The penalty does not change under rotation, so the solution in the space of the clips is the same.
        left, sizes, axes = np.linalg.svd(features, full_matrices=False)
        features = left * sizes
    model = LogisticRegression(max_iter=_MAX_ITERATIONS, tol=1e-5, warm_start=True)
    # For two labels scikit-learn fits one row, their difference. Each label gets half of it, so its square counts half
    # in the penalty.
    halves = 2.0 if len(np.unique(labels)) == 2 else 1.0
    for strength in strengths:
        model.set_params(C=halves / (strength * len(features)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a weak penalty stops early, which regularizes
            model.fit(features, labels)
        coefficients, intercepts = model.coef_, model.intercept_
        if len(model.classes_) == 2:
            coefficients, intercepts = (np.concatenate([-each / 2, each / 2]) for each in (coefficients, intercepts))
        everything = np.zeros((classes, features.shape[1])), np.full(classes, -np.inf)
        everything[0][model.classes_], everything[1][model.classes_] = coefficients, intercepts
        yield strength, LogisticModel(everything[0] if axes is None else everything[0] @ axes, everything[1])

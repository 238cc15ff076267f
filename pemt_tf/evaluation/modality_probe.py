"""A linear classifier and a vote of nearest neighbours on the frozen features of one modality.

`fit_probe` does not receive the test clips: they are used only after everything is chosen and fitted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from pemt_tf.evaluation.folds import Fold
from pemt_tf.evaluation.intervals import measure_shares
from pemt_tf.evaluation.linear_probe import DEFAULT_STRENGTH, STRENGTHS, LogisticModel, Standardization, fit_path
from pemt_tf.models.finite_outputs import finite_rows
from pemt_tf.search.knn import nearest, normalize, vote

NEIGHBOURS = (1, 3, 5, 10, 20)
FIXED = "nothing: too few training clips to choose by"


@dataclass(frozen=True)
class LabelledVectors:
    """Features of one modality, [clips, width] float; labels [clips] int; files [clips], the source files."""

    vectors: np.ndarray
    labels: np.ndarray
    files: np.ndarray

    def take(self, rows: np.ndarray) -> LabelledVectors:
        """Some of the clips, by number."""
        return LabelledVectors(self.vectors[rows], self.labels[rows], self.files[rows])


@dataclass(frozen=True)
class FittedProbe:
    """Classifiers fitted to the training clips."""

    standardization: Standardization
    model: LogisticModel
    strength: float  # regularization lambda of the linear classifier
    neighbours: int  # how many vote
    chosen_on: str  # the clips on which `strength` and `neighbours` were chosen
    train: np.ndarray  # standardized training features, for the neighbours
    train_labels: np.ndarray

    def linear(self, vectors: np.ndarray) -> np.ndarray:
        """Labels [clips] by the linear classifier, from features [clips, width]; -1 where these are not finite."""
        found = self.model.log_probabilities(self.standardization(vectors)).argmax(axis=1)
        return np.where(finite_rows(vectors), found, -1)

    def knn(self, vectors: np.ndarray) -> np.ndarray:
        """Labels [clips] by the vote of neighbours; -1 where the features are not finite."""
        usable, found = finite_rows(vectors), np.full(len(vectors), -1)
        standardized = normalize(self.standardization(vectors[usable]))
        rows, similarities = nearest(standardized, normalize(self.train), self.neighbours)
        found[usable] = vote(self.train_labels[rows], similarities, self.neighbours, len(self.model.intercepts))
        return found


def fit_probe(
    train: LabelledVectors,
    classes: int,
    folds: list[Fold],
    chosen_on: str,
    validation: LabelledVectors | None = None,
) -> FittedProbe:
    """Chooses regularization and number of neighbours, then fits to all training clips, of at least two labels.

    It chooses on `validation`, or else on the folds of the training clips; without any, the settings are fixed.
    """
    if validation is not None:
        pairs = [(train, validation)]
    else:
        pairs = [(train.take(fold.fit), train.take(fold.check)) for fold in folds]
    # As many neighbours as the smallest fold can give.
    counts = tuple(k for k in NEIGHBOURS if k <= min((len(fit.labels) for fit, _ in pairs), default=1))
    strength = _choose(pairs, STRENGTHS, lambda fit, check: _linear_scores(fit, check, classes)) or DEFAULT_STRENGTH
    neighbours = _choose(pairs, counts, lambda fit, check: _neighbour_scores(fit, check, classes, counts)) or 1
    standardization = Standardization.fit(train.vectors)
    vectors = standardization(train.vectors)
    path = STRENGTHS[: STRENGTHS.index(strength) + 1]
    *_, (_, model) = fit_path(vectors, train.labels, classes, path)
    return FittedProbe(
        standardization, model, strength, neighbours, chosen_on if pairs else FIXED, vectors, train.labels
    )


def measure_probe(probe: FittedProbe, test: LabelledVectors, seed: int = 0) -> dict:
    """`linear` and `knn`, each with `accuracy`, `interval` (Wilson), `bootstrap_interval` and `chosen_on` on held-out
    clips; and `regularization` of the one, `k` of the other."""
    predictions = (probe.linear(test.vectors), probe.knn(test.vectors))
    hits = np.stack([predicted == test.labels for predicted in predictions], axis=1)
    linear, knn = (
        {
            "accuracy": share.value,
            "interval": share.wilson,
            "bootstrap_interval": share.bootstrap,
            "chosen_on": probe.chosen_on,
        }
        for share in measure_shares(hits, test.files, seed)
    )
    return {"linear": {**linear, "regularization": probe.strength}, "knn": {**knn, "k": probe.neighbours}}


def _choose(pairs: list, candidates: tuple, scores: Callable[[LabelledVectors, LabelledVectors], np.ndarray]) -> Any:
    """The candidate with most correct clips over all folds, then the highest likelihood, then the first; or None."""
    if not pairs:
        return None
    total = np.sum([scores(fit, check) for fit, check in pairs], axis=0)
    return max(zip(total.tolist(), candidates, strict=True), key=lambda one: one[0])[1]


def _linear_scores(fit: LabelledVectors, check: LabelledVectors, classes: int) -> np.ndarray:
    """[strengths, 2]: number of correct clips, and sum of the log-probabilities of the true labels."""
    standardization = Standardization.fit(fit.vectors)
    features, truth = standardization(check.vectors), check.labels
    scores = []
    for _, model in fit_path(standardization(fit.vectors), fit.labels, classes):
        found = model.log_probabilities(features)
        likelihood = np.maximum(found[np.arange(len(truth)), truth], -50.0).sum()  # -inf where it was not trained on
        scores.append(((found.argmax(axis=1) == truth).sum(), likelihood))
    return np.array(scores)


def _neighbour_scores(fit: LabelledVectors, check: LabelledVectors, classes: int, counts: tuple) -> np.ndarray:
    """[counts, 1]: number of correct clips."""
    standardization = Standardization.fit(fit.vectors)
    checked, fitted = (normalize(standardization(each.vectors)) for each in (check, fit))
    rows, similarities = nearest(checked, fitted, counts[-1])
    labels = fit.labels[rows]
    return np.array([[(vote(labels, similarities, k, classes) == check.labels).sum()] for k in counts])

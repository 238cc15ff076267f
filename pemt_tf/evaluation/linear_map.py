"""Linear maps of audio and frames into one space, fitted to pairs without labels: regularized canonical correlation
analysis (Hotelling 1936; the ridge: Vinod 1976)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pemt_tf.evaluation.folds import grouped_folds
from pemt_tf.evaluation.linear_probe import Standardization
from pemt_tf.evaluation.retrieval import Scores, cosine_scores, ranks

RIDGES = (10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01)  # strongest first
FEWEST_PAIRS = 10
_SMALLEST = 1e-10  # of the largest variance; less is rounding


@dataclass(frozen=True)
class _Side:
    """Standardization of one modality, its principal axes [width, axes] and the variances along them."""

    standardization: Standardization
    axes: np.ndarray
    variances: np.ndarray

    @classmethod
    def fit(cls, vectors: np.ndarray) -> tuple[_Side, np.ndarray]:
        """Fits to [clips, width]; also returns their coordinates along the axes, [clips, axes]."""
        standardization = Standardization.fit(vectors)
        x = standardization(vectors)
        clips, width = x.shape
        if width <= clips:
            variances, axes = np.linalg.eigh(x.T @ x / clips)
        else:  # the same axes from the smaller product
            variances, left = np.linalg.eigh(x @ x.T / clips)
            axes = x.T @ left / np.sqrt(np.maximum(variances * clips, np.finfo(float).tiny))
        kept = variances > _SMALLEST * max(variances[-1], np.finfo(float).tiny)
        side = cls(standardization, axes[:, kept], variances[kept])
        return side, x @ side.axes

    def shrinkage(self, ridge: float) -> np.ndarray:
        """Whitening factors [axes]; the ridge is in units of the mean variance along the axes."""
        return 1.0 / np.sqrt(self.variances + ridge * self.variances.mean()) if len(self.variances) else self.variances


@dataclass(frozen=True)
class LinearMap:
    """Two linear maps into one space, in which the audio and the frames of a clip are near each other."""

    audio: tuple[Standardization, np.ndarray]  # the matrix is [width, dimensions]
    visual: tuple[Standardization, np.ndarray]
    ridge: float  # added to the variances
    chosen_on: str  # how the ridge was chosen
    pairs: int  # number of clips in the fit

    def scores(self, audio: np.ndarray, visual: np.ndarray) -> Scores:
        """Cosines in the common space, from [clips, width] features each."""
        mapped = (side[0](vectors) @ side[1] for side, vectors in ((self.audio, audio), (self.visual, visual)))
        return cosine_scores(*mapped)


def fit_linear_map(audio: np.ndarray, visual: np.ndarray, groups: np.ndarray, seed: int = 0) -> LinearMap:
    """Fits the map; the ridge is the one with the best mean reciprocal rank in cross-validation among these pairs.

    `audio` and `visual` are [pairs, width] features of the same clips, at least `FEWEST_PAIRS`; `groups` [pairs] are
    the source files, whose clips stay together in the folds.
    """
    folds = grouped_folds(np.zeros(len(groups), int), groups, seed)
    scores = np.zeros(len(RIDGES))
    for fold in folds:
        for number, candidate in enumerate(_maps(audio[fold.fit], visual[fold.fit], RIDGES)):
            held_out = candidate.scores(audio[fold.check], visual[fold.check])
            scores[number] += sum((1.0 / found).sum() for found in ranks(held_out, len(fold.check)))
    ridge, chosen_on = 1.0, "nothing: too few training pairs to choose by"
    if folds:
        ridge = RIDGES[int(scores.argmax())]
        chosen_on = f"{len(folds)}-fold cross-validation of the training pairs, grouped by source file"
    (fitted,) = _maps(audio, visual, (ridge,), chosen_on)
    return fitted


def _maps(audio: np.ndarray, visual: np.ndarray, ridges: tuple[float, ...], chosen_on: str = "") -> list[LinearMap]:
    """One map for every ridge."""
    (heard, x), (seen, y) = _Side.fit(audio), _Side.fit(visual)
    shared = x.T @ y / len(x)
    maps = []
    for ridge in ridges:
        whiten, colour = heard.shrinkage(ridge), seen.shrinkage(ridge)
        left, correlations, right = np.linalg.svd(whiten[:, None] * shared * colour, full_matrices=False)
        # Directions count as much as they correlate.
        maps.append(
            LinearMap(
                (heard.standardization, heard.axes @ (whiten[:, None] * left * correlations)),
                (seen.standardization, seen.axes @ (colour[:, None] * right.T * correlations)),
                ridge,
                chosen_on,
                len(x),
            )
        )
    return maps

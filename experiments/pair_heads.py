"""A small head that says whether frames and audio belong together, from frozen features of both.

It is a logistic regression on the products of the principal axes of either side, so it can express every bilinear
comparison and no network is favoured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pemt_tf.evaluation.linear_probe import LogisticModel, Standardization, fit_path

AXES = 16  # of either side; their products are 256 features
STRENGTHS = (3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003)


@dataclass(frozen=True)
class Side:
    """Features of one modality to coordinates of mean 0 and variance 1 along the largest principal axes."""

    standardization: Standardization
    axes: np.ndarray  # [width, axes]

    @classmethod
    def fit(cls, vectors: np.ndarray) -> Side:
        """Fits to [rows, width]."""
        standardization = Standardization.fit(vectors)
        x = standardization(vectors)
        _, sizes, right = np.linalg.svd(x, full_matrices=False)
        deviations = sizes / np.sqrt(len(x))
        kept = np.flatnonzero(deviations > 1e-6 * max(deviations[0], 1e-30))[:AXES]
        return cls(standardization, right[kept].T / deviations[kept])

    def __call__(self, vectors: np.ndarray) -> np.ndarray:
        """[..., width] to [..., axes]."""
        return self.standardization(vectors) @ self.axes


@dataclass(frozen=True)
class Pairs:
    """Pairs of frames and audio.

    Attributes:
        visual, audio: [pairs, positions, width]; the products are averaged over the positions.
        belong: [pairs] int, 1 for frames and audio that belong together, else 0.
        groups: [pairs] int, what stays together when settings are chosen.
    """

    visual: np.ndarray
    audio: np.ndarray
    belong: np.ndarray
    groups: np.ndarray

    @classmethod
    def join(cls, parts: Sequence[Pairs]) -> Pairs:
        """All pairs of several sets."""
        every = ((part.visual, part.audio, part.belong, part.groups) for part in parts)
        return cls(*(np.concatenate(arrays) for arrays in zip(*every, strict=True)))

    def take(self, rows: np.ndarray) -> Pairs:
        """Some of the pairs, by number or as a mask."""
        return Pairs(self.visual[rows], self.audio[rows], self.belong[rows], self.groups[rows])


@dataclass(frozen=True)
class PairHead:
    """The fitted head."""

    visual: Side
    audio: Side
    scale: Standardization
    model: LogisticModel
    strength: float  # regularization

    @classmethod
    def fit(cls, pairs: Pairs) -> PairHead:
        """Fits to training pairs; the regularization is chosen on every fourth of their groups, then all are fitted."""
        chosen = np.unique(pairs.groups)[3::4]
        check = np.isin(pairs.groups, chosen)
        strength = STRENGTHS[0]
        if check.any():
            candidates = _path(pairs.take(~check), STRENGTHS)
            losses = [head.loss(pairs.take(check)) for head in candidates]
            strength = STRENGTHS[int(np.argmin(losses))]
        return _path(pairs, STRENGTHS[: STRENGTHS.index(strength) + 1])[-1]

    def logits(self, pairs: Pairs) -> np.ndarray:
        """[pairs], above 0 for those that belong together."""
        found = self.model.log_probabilities(self.scale(_products(self.visual, self.audio, pairs)))
        return found[:, 1] - found[:, 0]

    def loss(self, pairs: Pairs) -> float:
        """Mean cross-entropy."""
        return float(np.logaddexp(0.0, np.where(pairs.belong == 1, -1.0, 1.0) * self.logits(pairs)).mean())


def balanced_accuracy(logits: np.ndarray, belong: np.ndarray) -> float:
    """Mean of the share of true pairs with a logit above 0 and of the share of the others with one of 0 or less."""
    right = (logits > 0) == (belong == 1)
    return float((right[belong == 1].mean() + right[belong == 0].mean()) / 2)


def _path(pairs: Pairs, strengths: tuple[float, ...]) -> list[PairHead]:
    """One head for every strength."""
    flat = (each.reshape(-1, each.shape[-1]) for each in (pairs.visual, pairs.audio))
    visual, audio = (Side.fit(each) for each in flat)
    products = _products(visual, audio, pairs)
    scale = Standardization.fit(products)
    fitted = fit_path(scale(products), pairs.belong, 2, strengths)
    return [PairHead(visual, audio, scale, model, strength) for strength, model in fitted]


def _products(visual: Side, audio: Side, pairs: Pairs) -> np.ndarray:
    """[pairs, visual axes x audio axes], means over the positions."""
    products = np.einsum("npi,npj->nij", visual(pairs.visual), audio(pairs.audio)) / pairs.visual.shape[1]
    return products.reshape(len(products), -1)

"""The most probable labels of a clip."""

from __future__ import annotations

import numpy as np


def best_labels(probabilities: np.ndarray, labels: tuple[str, ...], count: int = 3) -> list[tuple[str, float]]:
    """The most probable labels of one clip, best first."""
    order = np.argsort(-probabilities, kind="stable")[:count]
    return [(labels[index], float(probabilities[index])) for index in order]

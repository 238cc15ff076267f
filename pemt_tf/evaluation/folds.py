"""Folds of the training clips, to choose settings on.

scikit-learn's StratifiedGroupKFold leaves the labels far less balanced (10 clips of a label between the largest and
smallest fold, here 1, on average over random data sets), depends on its release, and takes 30 times as long.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_FOLDS = 5


@dataclass(frozen=True)
class Fold:
    """Rows of the clips to fit to, and of the clips to check on."""

    fit: np.ndarray
    check: np.ndarray


def grouped_folds(labels: np.ndarray, groups: np.ndarray, seed: int = 0) -> list[Fold]:
    """Cross-validation folds with similar shares of the `labels` [clips]; the clips of one of `groups` stay together.

    As many folds as the rarest label has source files (the groups), at most 5; none if it has only one. A file counts
    for its most frequent label.
    """
    if not len(labels):
        return []
    _, numbers = np.unique(groups, return_inverse=True)
    table = np.zeros((numbers.max() + 1, labels.max() + 1), int)
    np.add.at(table, (numbers, labels), 1)
    label_of, sizes = table.argmax(axis=1), table.sum(axis=1)
    files = np.bincount(label_of)
    count = min(_FOLDS, *files[files > 0], len(sizes))
    if count < 2:
        return []
    place = np.zeros(len(sizes), int)
    held = np.zeros((count, table.shape[1]), int)  # clips of every fold, by label
    order = np.random.default_rng(seed).permutation(len(sizes))
    # Large files first, each to the fold that has the fewest clips of its label, then the fewest of all.
    for file in order[np.argsort(-sizes[order], kind="stable")]:
        place[file] = np.lexsort((held.sum(axis=1), held[:, label_of[file]]))[0]
        held[place[file]] += table[file]
    folds = [Fold(np.flatnonzero(place[numbers] != f), np.flatnonzero(place[numbers] == f)) for f in range(count)]
    # Where files have several labels, a fold may have no clip to check on, or only one label to fit to.
    fewest = min(2, len(np.unique(labels)))
    return [f for f in folds if len(f.check) and len(np.unique(labels[f.fit])) >= fewest]

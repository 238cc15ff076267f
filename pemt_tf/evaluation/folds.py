"""Splits of the training clips to choose settings by: the clips of the test have no part in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_FOLDS = 5


@dataclass(frozen=True)
class Fold:
    """Row numbers of the clips to fit to, and of those to check by."""

    fit: np.ndarray
    check: np.ndarray


def grouped_folds(labels: np.ndarray, groups: np.ndarray, seed: int = 0) -> list[Fold]:
    """Cross-validation folds with the labels in like shares; the clips of one source file stay together.

    Args:
        labels: [clips] int.
        groups: [clips], the source file.
        seed: of the order.

    Returns:
        As many folds as the rarest label has source files, at most 5; none where it has only one. A file counts for its
        most frequent label.
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
    # Where files have several labels a fold may have nothing to check by, or one label to learn.
    fewest = min(2, len(np.unique(labels)))
    return [f for f in folds if len(f.check) and len(np.unique(labels[f.fit])) >= fewest]

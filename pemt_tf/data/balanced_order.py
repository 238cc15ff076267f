"""The order of class-balanced sampling: a pure function of a seed, so any place in it is found at once."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

_CLASSES, _CLIPS = 0, 1  # what a permutation is of


class BalancedOrder:
    """Every class in turn, in a new order each round, and of each class its clips in turn.

    So each class gives equally many clips, a rare one by repeating its own. A clip of several classes belongs to each.

    Args:
        rows, labels: [pairs] int, the clips of each class; classes without a clip take no part.
        seed: numbers that the order follows from.
    """

    def __init__(self, rows: np.ndarray, labels: np.ndarray, seed: tuple[int, int]):
        order = np.argsort(labels, kind="stable")
        self._classes, first = np.unique(labels[order], return_index=True)
        self._clips = np.split(rows[order], first[1:])
        self._seed = [number & (2**63 - 1) for number in seed]

    def rows_from(self, position: int) -> Iterator[int]:
        """The endless stream of rows from a position on."""
        first, passed = divmod(position, len(self._classes))
        shuffled: dict[int, tuple[int, np.ndarray]] = {}  # class to its newest pass over its clips
        turn = first
        while True:
            for place in self._permutation(_CLASSES, turn, len(self._classes))[passed:].tolist():
                clips = self._clips[place]
                number, at = divmod(turn, len(clips))
                if shuffled.get(place, (-1,))[0] != number:
                    drawn = self._permutation(_CLIPS, number, len(clips), int(self._classes[place]))
                    shuffled[place] = number, clips[drawn]
                yield int(shuffled[place][1][at])
            turn, passed = turn + 1, 0

    def _permutation(self, kind: int, number: int, size: int, label: int = 0) -> np.ndarray:
        return np.random.default_rng([*self._seed, kind, number, label]).permutation(size)

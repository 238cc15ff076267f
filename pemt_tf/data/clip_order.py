"""The order in which training sees clips: a pure function of seeds and epoch, so any place in it is found at once.

It reproduces tf.data's order exactly: files shuffled, four of them read in turns, and a shuffle buffer of clips, drawn
by Philox generators (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3"). tf.data itself only finds a place
by going through everything before it.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator, Sequence

import numpy as np

SHUFFLE_CLIPS = 2048
READ_FILES_AT_ONCE = 4
_DRAWN_AT_ONCE = 4096
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)


class ClipOrder:
    """The order of the `chosen` rows ([rows] bool, counted over all files), epoch after epoch.

    `file_key` and `clip_key` are each the two seeds, as `tf.compat.v1.get_seed` gives them, with which tf.data would
    shuffle files or clips. With `same_files` every epoch reads the files in the same order.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        chosen: np.ndarray,
        file_key: tuple[int, int],
        clip_key: tuple[int, int],
        same_files: bool = False,
    ):
        ends = list(itertools.accumulate(sizes))
        self._files = [range(end - size, end) for size, end in zip(sizes, ends, strict=True)]
        self._chosen = chosen.tolist()
        self._file_key, self._clip_key, self._same_files = file_key, clip_key, same_files
        self.epoch_size = sum(self._chosen)

    def rows_from(self, position: int) -> Iterator[int]:
        """The endless stream of rows from a position on; earlier epochs cost nothing."""
        first, passed = divmod(position, self.epoch_size)
        yield from itertools.islice(self._epoch(first), passed, None)
        for epoch in itertools.count(first + 1):
            yield from self._epoch(epoch)

    def _epoch(self, number: int) -> Iterator[int]:
        # tf.data used pair 0 when it looked whether there is a clip at all.
        key = _pair(self._file_key, 1 if self._same_files else 1 + number)
        rows = _in_turns(list(_shuffled(iter(self._files), len(self._files), _draws(key))))
        return _shuffled(filter(self._chosen.__getitem__, rows), SHUFFLE_CLIPS, _draws(_pair(self._clip_key, number)))


def _in_turns(files: list[range]) -> Iterator[int]:
    """One row of each open file in turn; when a file has ended, the next one takes its place."""
    slots: list[Iterator[int] | None] = [None] * READ_FILES_AT_ONCE
    waiting = deque(files)
    turn = 0
    while waiting or any(slots):
        rows = slots[turn]
        if rows is None and waiting:
            rows = slots[turn] = iter(waiting.popleft())
        if rows is not None:
            row = next(rows, None)
            if row is not None:
                yield row
            else:
                slots[turn] = None
        turn = (turn + 1) % READ_FILES_AT_ONCE


def _shuffled(items: Iterator, size: int, draws: Iterator[int]) -> Iterator:
    """Shuffles by a buffer of `size` items: the buffer's first item takes the place of each one drawn."""
    buffer = deque(itertools.islice(items, size))
    while buffer:
        place = next(draws) % len(buffer)
        drawn, buffer[place] = buffer[place], buffer[0]
        buffer.popleft()
        buffer.extend(itertools.islice(items, 1))
        yield drawn


def _pair(key: tuple[int, int], number: int) -> tuple[int, int]:
    """The seeds that a generator gives for the shuffle of an epoch."""
    first, second = _philox(key, 2 * number, 2).tolist()
    return first, second


def _draws(key: tuple[int, int]) -> Iterator[int]:
    for start in itertools.count(0, _DRAWN_AT_ONCE):
        yield from _philox(key, start, _DRAWN_AT_ONCE).tolist()


def _philox(key: tuple[int, int], start: int, count: int) -> np.ndarray:
    """Numbers `start` to `start + count` of TensorFlow's PhiloxRandom(*key), Philox4x32-10: [count] uint64, 32 bits."""
    blocks = np.arange(start // 4, -(-(start + count) // 4), dtype=np.uint64)
    low, high = (seed & (2**64 - 1) for seed in key)
    counter = [
        blocks & _LOW,
        blocks >> _HALF,
        *(np.full_like(blocks, half) for half in (high & 0xFFFFFFFF, high >> 32)),
    ]
    first, second = low & 0xFFFFFFFF, low >> 32
    for _ in range(10):
        even, odd = counter[0] * np.uint64(0xD2511F53), counter[2] * np.uint64(0xCD9E8D57)
        counter = [
            (odd >> _HALF) ^ counter[1] ^ np.uint64(first),
            odd & _LOW,
            (even >> _HALF) ^ counter[3] ^ np.uint64(second),
            even & _LOW,
        ]
        first, second = (first + 0x9E3779B9) & 0xFFFFFFFF, (second + 0xBB67AE85) & 0xFFFFFFFF
    return np.stack(counter, 1).ravel()[start % 4 :][:count]

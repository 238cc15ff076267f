"""Splits clips into requests, by their bytes and up to a number of clips."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

Inputs = dict[str, np.ndarray]

_ENVELOPE = 4096  # bytes of a request besides its inputs: names of the model, signature and outputs


def request_batches(
    inputs: Inputs, most: int, limit: int, request_bytes: Callable[[Inputs], int]
) -> Iterator[tuple[int, Inputs]]:
    """Splits inputs along their first axis into requests of at most `most` clips and `limit` bytes.

    Yields the number of a request's first clip, and its inputs. A clip above the limit gets a request of its own.
    `request_bytes` gives the largest number of bytes that inputs take.
    """
    count = len(next(iter(inputs.values())))
    first, used = 0, _ENVELOPE
    for number in range(count):
        size = request_bytes({name: values[number : number + 1] for name, values in inputs.items()})
        if number > first and (number - first == most or used + size > limit):
            yield first, {name: values[first:number] for name, values in inputs.items()}
            first, used = number, _ENVELOPE
        used += size
    yield first, {name: values[first:] for name, values in inputs.items()}

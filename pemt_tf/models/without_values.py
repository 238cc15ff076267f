"""Models whose variables have shapes but no values, to be looked at only."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import keras

T = TypeVar("T")


def without_values(build: Callable[[], T]) -> T:
    """Calls `build`, in which new variables take no memory, and returns what it returns.

    It is called in a thread of its own. Keras keeps a list, one for each thread, of variables without values, and gives
    all of them values as soon as any other `keras.StatelessScope` ends: 15 GB after a few counts of the unshared
    Transformers. With the thread its list goes too.
    """

    def scoped() -> T:
        with keras.StatelessScope(initialize_variables=False):
            return build()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(scoped).result()

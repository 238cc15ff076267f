"""Ctrl-C and SIGTERM, in the right places only."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def stopped_by_sigterm() -> Iterator[None]:
    """While it lasts SIGTERM does what Ctrl-C does: Slurm, Kubernetes and `kill` send it."""
    with _handling(signal.default_int_handler, signal.SIGTERM):
        yield


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Lets Ctrl-C and SIGTERM wait until the block is done; a second Ctrl-C does not wait.

    SIGTERM may come several times, of a scheduler that tells every process and of a parent that passes it on.

    Raises:
        KeyboardInterrupt: at the end of the block, if one of them came inside.
    """
    came = []

    def remember(number, frame):
        if came and number == signal.SIGINT:
            raise KeyboardInterrupt
        came.append(number)

    with _handling(remember, signal.SIGINT, signal.SIGTERM):
        yield
    if came:
        raise KeyboardInterrupt


@contextlib.contextmanager
def _handling(handler: Callable, *signals: signal.Signals) -> Iterator[None]:
    """Only the main thread is told of signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in signals}
    try:
        yield
    finally:
        for number, previous in before.items():
            # None: not installed by Python, as TensorFlow's on several machines.
            signal.signal(number, signal.SIG_DFL if previous is None else previous)

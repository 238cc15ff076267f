"""Handles Ctrl-C and SIGTERM."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType


@contextlib.contextmanager
def stopped_by_sigterm() -> Iterator[None]:
    """Treats SIGTERM as Ctrl-C within the block: Slurm, Kubernetes and `kill` send it."""
    with handling(signal.default_int_handler, signal.SIGTERM):
        yield


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Delays Ctrl-C and SIGTERM to the end of the block, where KeyboardInterrupt is raised; a second Ctrl-C interrupts.

    SIGTERM may come several times: from a scheduler that signals every process, and from a parent that passes it on.
    """
    came: list[int] = []

    def remember(number: int, frame: FrameType | None) -> None:
        if came and number == signal.SIGINT:
            raise KeyboardInterrupt
        came.append(number)

    with handling(remember, signal.SIGINT, signal.SIGTERM):
        yield
    if came:
        raise KeyboardInterrupt


@contextlib.contextmanager
def handling(handler: Callable, *signals: signal.Signals) -> Iterator[None]:
    """Installs a handler within the block; only the main thread receives signals."""
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

"""Ctrl-C in the right places only."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Lets Ctrl-C wait until the block is done; a second one does not wait.

    Raises:
        KeyboardInterrupt: at the end of the block, if it was pressed inside.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pressed = []

    def remember(number, frame):
        if pressed:
            raise KeyboardInterrupt
        pressed.append(number)

    before = signal.signal(signal.SIGINT, remember)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if pressed:
        raise KeyboardInterrupt

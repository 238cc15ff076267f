"""One run at a time in a root: a second one says so, and touches nothing."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from pemt_tf.errors import PemtError

LOCK_NAME = "run.lock"


@contextlib.contextmanager
def only_run(root: Path) -> Iterator[None]:
    """Holds the root while it lasts. The lock is the operating system's: it ends with the process, however that ends.

    Args:
        root: of the pipeline, which exists.

    Raises:
        PemtError: another run holds it, or it cannot be written.
    """
    with _take(root) as file:
        file.truncate(0)
        file.write(f"process {os.getpid()}, since {time.strftime('%Y-%m-%d %H:%M:%S')}\n")
        file.flush()
        yield


def _take(root: Path) -> TextIO:
    try:
        file = (root / LOCK_NAME).open("a+", encoding="utf-8")
    except OSError as error:
        raise PemtError(f"cannot write to the pipeline's root {root}: {error.strerror}") from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        with file:
            file.seek(0)
            holder = file.read().strip() or "just begun"
        raise PemtError(
            f"another run is under way in {root} ({holder}); wait for its end, or give this one a root of its own"
        ) from None
    return file


def is_running(root: Path) -> bool:
    """Whether a run holds the root."""
    try:
        with (root / LOCK_NAME).open("r", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False

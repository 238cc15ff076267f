"""Locks that end with their process, and that say which process holds them."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO


class LockHeldError(Exception):
    """Another process holds the lock; its text says which one."""


@contextlib.contextmanager
def lock(path: Path) -> Iterator[None]:
    """Holds a lock of the operating system within the block; it ends with the process, however that ends.

    On a file system without locks nothing is locked. The file at `path` names the holder, and is deleted with the lock.
    LockHeldError if another process holds it.
    """
    with _take(path) as file:
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}, since {time.strftime('%Y-%m-%d %H:%M:%S')}\n")
        file.flush()
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _take(path: Path) -> TextIO:
    while True:
        file = path.open("a+", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with file:
                file.seek(0)
                raise LockHeldError(file.read().strip() or "just begun") from None
        except OSError:
            return file
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_ino == os.fstat(file.fileno()).st_ino:
                return file
        file.close()  # its holder has just deleted it

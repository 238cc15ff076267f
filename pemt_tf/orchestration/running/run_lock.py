"""One run at a time in a root: a second one is refused and changes nothing."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from pemt_tf.errors import PemtError
from pemt_tf.files.folder_lock import LockHeldError, lock

LOCK_NAME = "run.lock"


@contextlib.contextmanager
def only_run(root: Path) -> Iterator[None]:
    """Locks the root. The lock is the operating system's: it ends with the process, in whatever way that ends."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(lock(root / LOCK_NAME))
        except OSError as error:
            raise PemtError(f"cannot write to the pipeline's root {root}: {error.strerror}") from None
        except LockHeldError as holder:
            raise PemtError(
                f"another run is under way in {root} ({holder}); wait for its end, or give this one a root of its own"
            ) from None
        yield


def is_running(root: Path) -> bool:
    """Whether a run holds the lock."""
    try:
        with (root / LOCK_NAME).open("r", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False

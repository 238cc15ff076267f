"""Checks that an output can be written, before the work for it is done."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pemt_tf.errors import PemtError

_ENOUGH = 1 << 14  # bytes


def require_writable_file(path: Path, flag: str) -> None:
    """Raises PemtError with the reason if a file cannot be written, naming its `flag`; leaves nothing behind."""
    with _refusing(f"cannot write {path}", flag):
        if path.is_dir():
            raise IsADirectoryError(21, "it is a folder, not a file")
        if path.exists() and not path.is_file():
            return  # /dev/stdout and the like
        if path.exists():
            path.open("r+b").close()
        _try_folder(path.parent)


def require_writable_folder(path: Path, flag: str) -> None:
    """As `require_writable_file`, for a folder that may have to be created."""
    with _refusing(f"cannot write to {path}", flag):
        _try_folder(path)


@contextlib.contextmanager
def _refusing(what: str, flag: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise PemtError(f"{what}: {error.strerror or error}; free some space, or choose another {flag}") from None


def _try_folder(folder: Path) -> None:
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    # Writing is the only sure test of permissions, quotas, read-only file systems and root's rights.
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(bytes(_ENOUGH))
        file.flush()
    if missing:
        missing[-1].mkdir()
        missing[-1].rmdir()

"""Files that appear whole: written under another name, then put in their place."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from pemt_tf.errors import PemtError


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Gives the path to write to; it takes the place of `path` when the block ends, and is removed if it fails."""
    partial = path.with_name(f"partial.{path.name}")  # the suffix stays, because Keras insists on `.weights.h5`
    try:
        yield partial
        partial.replace(path)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def write_text(path: Path, text: str, make_folder: bool = False) -> Path:
    r"""Writes a text file, whole or not at all, and returns its path; PemtError if it cannot be written.

    Bytes of file names that are not text are written as `\xNN`.
    """
    path = Path(path)
    try:
        if make_folder:
            path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as partial:
            partial.write_bytes(text.encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise PemtError(f"cannot write {path}: {error.strerror or error}") from None
    return path

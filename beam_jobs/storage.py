"""Files on any file system that Beam knows (local, gs:// ...), with a short way for local ones."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

COPY_BYTES = 2**20


def is_remote(path: str) -> bool:
    """Whether a path belongs to another file system than the local one."""
    return "://" in path


def join(folder: str, *names: str) -> str:
    """Joins path parts on any file system."""
    return FileSystems.join(folder, *names) if is_remote(folder) else str(Path(folder, *names))


def open_read(path: str) -> BinaryIO:
    """Opens a file for reading bytes, as they are."""
    if is_remote(path):
        return FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED)
    return Path(path).open("rb")


def open_write(path: str) -> BinaryIO:
    """Opens a file for writing bytes; makes local folders as needed."""
    if is_remote(path):
        return FileSystems.create(path, compression_type=CompressionTypes.UNCOMPRESSED)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    return Path(path).open("wb")


def write_text(path: str, text: str) -> None:
    """Writes a small text file."""
    with open_write(path) as file:
        file.write(text.encode("utf-8"))


def exists(path: str) -> bool:
    """Whether there is a file."""
    return FileSystems.exists(path) if is_remote(path) else Path(path).is_file()


def remove(path: str) -> None:
    """Removes a file or a folder with all that is in it; fine where there is none."""
    if is_remote(path):
        with contextlib.suppress(OSError):
            FileSystems.delete([path])
    elif Path(path).is_dir():
        shutil.rmtree(path)
    else:
        Path(path).unlink(missing_ok=True)


@contextlib.contextmanager
def local_copy(path: str) -> Iterator[str]:
    """A local path with the file's content, for code that can only read local files."""
    if not is_remote(path):
        yield path
        return
    with tempfile.NamedTemporaryFile(suffix=Path(path).suffix) as copy:
        with open_read(path) as source:
            shutil.copyfileobj(source, copy, COPY_BYTES)
        copy.flush()
        yield copy.name


def put_in_place(finished: str, path: str) -> None:
    """Moves a finished local file to its place: nobody ever sees half of it there."""
    if not is_remote(path):
        Path(finished).replace(path)
        return
    with Path(finished).open("rb") as source, open_write(path) as target:
        shutil.copyfileobj(source, target, COPY_BYTES)
    Path(finished).unlink()


def list_sizes(folder: str, pattern: str) -> dict[str, int]:
    """Paths and sizes (bytes) of the files under a folder that match; one request for all, not one for each."""
    if is_remote(folder):
        matches = FileSystems.match([join(folder, pattern)])[0].metadata_list
        return {match.path: match.size_in_bytes for match in matches}
    return {str(path): path.stat().st_size for path in sorted(Path(folder).glob(pattern)) if path.is_file()}


def remove_all(paths: Iterable[str]) -> None:
    """Removes files; on another file system in one request for all."""
    paths = list(paths)
    remote = [path for path in paths if is_remote(path)]
    if remote:
        FileSystems.delete(remote)
    for path in paths:
        if not is_remote(path):
            remove(path)

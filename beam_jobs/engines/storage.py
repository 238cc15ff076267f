"""Files on any file system that Beam knows (local, gs:// ...), with a short way for local ones."""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import io
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from pemt_tf.errors import PemtError

COPY_BYTES = 2**20
LONGEST_SUFFIX = 16  # of a copy's name: names in a bucket may be longer than those of a file
RETRY_SECONDS = (1.0, 4.0, 16.0)  # pauses before a copy is tried again; the file systems' own retries come first
LASTING = (400, 401, 403, 404)  # HTTP codes that a second try does not change

# What the file systems of Beam need, and where it comes from.
PACKAGES = {
    "gs": ("google.cloud.storage", "pemt-tf[dataflow]"),
    "s3": ("boto3", "pemt-tf[aws]"),
    "azfs": ("azure.storage.blob", "apache-beam[azure]"),
    "hdfs": ("hdfs", "apache-beam[hadoop]"),
}

# Google's client asks, in a thread of its own, for the metadata of each bucket that is new to it, to name the bucket in
# traces. Beam makes a client for each access: without this, every listing and every file would cost one request more,
# which the roles in docs/dataflow.md do not even allow (storage.buckets.get). Whoever wants traces sets it to false.
os.environ.setdefault("DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA", "true")


def file_systems():
    """Beam's file systems. A local job never gets here and is spared Beam's import, which takes seconds."""
    from apache_beam.io.filesystems import FileSystems

    return FileSystems


def _uncompressed() -> dict[str, str]:
    """Tells Beam to leave bytes as they are, whatever the file's name says of compression."""
    from apache_beam.io.filesystem import CompressionTypes

    return {"compression_type": CompressionTypes.UNCOMPRESSED}


class _RemoteFile(io.RawIOBase):
    """A file of another file system whose errors are OSErrors, as those of local files are."""

    def __init__(self, path: str) -> None:
        self._path = path
        with _translated(path):
            self._source = file_systems().open(path, **_uncompressed())
            self._size = self._source.seek(0, io.SEEK_END)  # known: reading on to the end would ask once more
            self._source.seek(0)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        with _translated(self._path):
            return self._source.seek(offset, whence)

    def tell(self) -> int:
        return self._source.tell()

    def readinto(self, buffer) -> int:
        with _translated(self._path):
            left = self._size - self._source.tell()
            data = self._source.read(min(len(buffer), left)) if left > 0 else b""
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._source.close()
        super().close()


@contextlib.contextmanager
def _translated(path: str) -> Iterator[None]:
    """Every file system of Beam has its own kinds of error; ours are OSErrors with an errno and one line."""
    try:
        yield
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        number = {404: errno.ENOENT, 401: errno.EACCES, 403: errno.EACCES}.get(getattr(error, "code", None), errno.EIO)
        if isinstance(error, FileNotFoundError):
            number = errno.ENOENT
        said = " ".join(str(error).split())[:500] or type(error).__name__
        translated = OSError(number, said, path)
        translated.is_lasting = number != errno.EIO or getattr(error, "code", None) in LASTING
        raise translated from None


def require(path: str) -> None:
    """Refuses a path of another file system whose package is missing, or that Beam does not know.

    Raises:
        PemtError: says what to install.
    """
    if is_remote(path):
        problem = _lacking(path.partition("://")[0])
        if problem:
            raise PemtError(f"cannot use {path}: {problem}")


@lru_cache
def _lacking(scheme: str) -> str | None:
    package, extra = PACKAGES.get(scheme, (None, None))
    if package is not None:
        try:
            is_there = importlib.util.find_spec(package) is not None
        except ModuleNotFoundError:  # of the package around it
            is_there = False
        return None if is_there else f"{scheme}:// paths need a package that is not here; pip install '{extra}'"
    try:
        file_systems().get_filesystem(f"{scheme}://")
    except ValueError:
        return f"no file system {scheme}:// is known (gs, s3, azfs and hdfs are); copy or mount the files first"
    return None


def is_remote(path: str) -> bool:
    """Whether a path belongs to another file system than the local one."""
    return "://" in path


def join(folder: str, *names: str) -> str:
    """Joins path parts on any file system."""
    require(folder)
    return file_systems().join(folder, *names) if is_remote(folder) else str(Path(folder, *names))


def open_read(path: str) -> BinaryIO:
    """Opens a file for reading bytes, as they are."""
    require(path)
    if is_remote(path):
        return io.BufferedReader(_RemoteFile(path), COPY_BYTES)
    return Path(path).open("rb")


def open_write(path: str) -> BinaryIO:
    """Opens a file for writing bytes; makes local folders as needed."""
    require(path)
    if is_remote(path):
        return file_systems().create(path, **_uncompressed())
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    return Path(path).open("wb")


def write_text(path: str, text: str) -> None:
    """Writes a small text file."""
    with _translated(path), open_write(path) as file:
        file.write(text.encode("utf-8"))


def exists(path: str) -> bool:
    """Whether there is a file."""
    if not is_remote(path):
        return is_file(path)
    require(path)
    with _translated(path):
        return file_systems().exists(path)


def is_file(path: str) -> bool:
    """Whether a local file is there; False, too, where it may not be looked at or its name is too long."""
    return stat.S_ISREG(_mode(path))


def is_folder(path: str) -> bool:
    """The same of a local folder."""
    return stat.S_ISDIR(_mode(path))


def is_link(path: str) -> bool:
    """Whether a local path is a symbolic link."""
    return stat.S_ISLNK(_mode(path, follow=False))


def size_of(path: str) -> int | None:
    """Bytes of a local file; None where it cannot be looked at."""
    try:
        return Path(path).stat().st_size
    except (OSError, ValueError):
        return None


def _mode(path: str, follow: bool = True) -> int:
    try:
        return (Path(path).stat() if follow else Path(path).lstat()).st_mode
    except (OSError, ValueError):  # Python says ValueError of a null character
        return 0


def remove(path: str) -> None:
    """Removes a file or a folder with all that is in it; fine where there is none."""
    if is_remote(path):
        with contextlib.suppress(OSError):
            file_systems().delete([path])
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
    with tempfile.NamedTemporaryFile(suffix=Path(path).suffix[:LONGEST_SUFFIX]) as copy:
        _fetch(path, copy)
        yield copy.name


def _fetch(path: str, copy: BinaryIO) -> None:
    """Copies a file; tries again after an error that may pass, so that no clip is lost to a moment's trouble."""
    for pause in (*RETRY_SECONDS, None):
        try:
            with open_read(path) as source:
                shutil.copyfileobj(source, copy, COPY_BYTES)
            copy.flush()
            return
        except OSError as error:
            if pause is None or getattr(error, "is_lasting", False) or isinstance(error, FileNotFoundError):
                raise
        copy.seek(0)
        copy.truncate()
        time.sleep(pause)


def put_in_place(finished: str, path: str) -> None:
    """Moves a finished local file to its place: nobody ever sees half of it there."""
    if not is_remote(path):
        Path(finished).replace(path)
        return
    with _translated(path), Path(finished).open("rb") as source, open_write(path) as target:
        shutil.copyfileobj(source, target, COPY_BYTES)
    Path(finished).unlink()


def list_sizes(folder: str, pattern: str) -> dict[str, int]:
    """Paths and sizes (bytes) of the files under a folder that match; one request for all, not one for each."""
    require(folder)
    if is_remote(folder):
        with _translated(folder):
            matches = file_systems().match([join(folder, pattern)])[0].metadata_list
        return {match.path: match.size_in_bytes for match in matches}
    return {str(path): path.stat().st_size for path in sorted(Path(folder).glob(pattern)) if path.is_file()}


def remove_all(paths: Iterable[str]) -> None:
    """Removes files; on another file system in one request for all."""
    paths = list(paths)
    remote = [path for path in paths if is_remote(path)]
    if remote:
        file_systems().delete(remote)
    for path in paths:
        if not is_remote(path):
            remove(path)

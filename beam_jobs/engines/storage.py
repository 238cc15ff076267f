"""Reads and writes files on any file system that Beam knows (local, gs:// ...); local files need no Beam."""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import io
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, BinaryIO

from pemt_tf.errors import PemtError

if TYPE_CHECKING:
    from apache_beam.io.filesystems import FileSystems

COPY_BYTES = 2**20
PARTIAL = ".partial"  # marks files that are still being written
LONGEST_SUFFIX = 16  # characters in the name of a copy: names in a bucket may be too long for a local file
RETRY_SECONDS = (1.0, 4.0, 16.0)  # pauses before a copy is tried again, after the file system's own retries
# HTTP codes that another try does not change, as the errno of the same meaning.
ERRNO_OF = {400: errno.EINVAL, 401: errno.EACCES, 403: errno.EACCES, 404: errno.ENOENT}

# The module that each file system of Beam needs, and the extra that installs it.
PACKAGES = {
    "gs": ("google.cloud.storage", "pemt-tf[dataflow]"),
    "s3": ("boto3", "pemt-tf[aws]"),
    "azfs": ("azure.storage.blob", "apache-beam[azure]"),
    "hdfs": ("hdfs", "apache-beam[hadoop]"),
}

# Google's client asks, in a thread of its own, for the metadata of each new bucket, to name the bucket in traces. Beam
# makes a client for each access. So every listing and every file would cost one more request, which the roles in
# docs/dataflow.md do not even allow (storage.buckets.get). Set it to false to get traces.
os.environ.setdefault("DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA", "true")


def file_systems() -> type[FileSystems]:
    """Beam's file systems. Local jobs do not call this, because importing Beam takes seconds."""
    from apache_beam.io.filesystems import FileSystems
    from apache_beam.options.pipeline_options import PipelineOptions

    if FileSystems._pipeline_options is None:  # s3:// refuses to go without; a pipeline will set its own
        FileSystems.set_options(PipelineOptions())
    return FileSystems


def _uncompressed() -> dict[str, str]:
    """Tells Beam not to decompress a file, whatever its name says."""
    from apache_beam.io.filesystem import CompressionTypes

    return {"compression_type": CompressionTypes.UNCOMPRESSED}


class _RemoteFile(io.RawIOBase):
    """A file on another file system; its errors are OSErrors, like those of local files."""

    def __init__(self, path: str) -> None:
        self._path = path
        with _translated(path):
            self._source = file_systems().open(path, **_uncompressed())
            self._size = self._source.seek(0, io.SEEK_END)  # saves the request that would find the end
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


class _UploadToS3(io.RawIOBase):
    """A file that is written to S3. Beam cannot end an upload without a byte, so empty files are put there whole."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._upload: BinaryIO | None = None

    def writable(self) -> bool:
        return True

    def write(self, data) -> int:
        if not len(data):
            return 0
        if self._upload is None:
            self._upload = file_systems().create(self._path, **_uncompressed())
        return self._upload.write(data)

    def __exit__(self, kind, *error) -> None:
        if kind is not None and self._upload is None:
            super().close()  # nothing has begun, so nothing may appear
        else:
            self.close()

    def close(self) -> None:
        if not self.closed and self._upload is not None:
            self._upload.close()
        elif not self.closed:
            from apache_beam.io.aws.s3io import S3IO, parse_s3_path

            bucket, name = parse_s3_path(self._path)
            S3IO(options=file_systems()._pipeline_options).client.client.put_object(Bucket=bucket, Key=name, Body=b"")
        super().close()


@contextlib.contextmanager
def _translated(path: str) -> Iterator[None]:
    """Turns the errors of Beam's file systems, each of which has its own kinds, into OSErrors of one line."""
    try:
        yield
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        number = ERRNO_OF.get(getattr(error, "code", None) or 0, errno.EIO)
        if isinstance(error, FileNotFoundError):
            number = errno.ENOENT
        said = " ".join(str(error).split())[:500] or type(error).__name__
        raise OSError(number, said, path) from None


def require(path: str) -> None:
    """Refuses a path on a file system that Beam does not know, or whose package is missing."""
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
        except ModuleNotFoundError:  # the package around it is missing
            is_there = False
        return None if is_there else f"{scheme}:// paths need a package that is not here; pip install '{extra}'"
    try:
        file_systems().get_filesystem(f"{scheme}://")
    except ValueError:
        return f"no file system {scheme}:// is known (gs, s3, azfs and hdfs are); copy or mount the files first"
    return None


def is_remote(path: str) -> bool:
    """Whether a path is on another file system than the local one."""
    return "://" in path


def join(folder: str, *names: str) -> str:
    """Joins path parts on any file system."""
    require(folder)
    return file_systems().join(folder, *names) if is_remote(folder) else str(Path(folder, *names))


def open_read(path: str) -> BinaryIO:
    """Opens a file for reading bytes, without decompressing them."""
    require(path)
    if is_remote(path):
        return io.BufferedReader(_RemoteFile(path), COPY_BYTES)
    return Path(path).open("rb")


def open_write(path: str) -> BinaryIO:
    """Opens a file for writing bytes; makes local folders as needed."""
    require(path)
    if path.startswith("s3://"):
        return _UploadToS3(path)  # pyright: ignore[reportReturnType] - all that is done with it is writing
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
    """Whether there is a local file; False if that cannot be found out, for want of rights or a too long name."""
    return os.path.isfile(path)  # noqa: PTH113 - Path.is_file raises errors for these


def is_folder(path: str) -> bool:
    """Whether there is a local folder; False if that cannot be found out."""
    return os.path.isdir(path)  # noqa: PTH112


def is_link(path: str) -> bool:
    """Whether a local path is a symbolic link; False if that cannot be found out."""
    return os.path.islink(path)  # noqa: PTH114


def size_of(path: str) -> int | None:
    """Size of a local file in bytes; None if it cannot be read."""
    try:
        return Path(path).stat().st_size
    except (OSError, ValueError):
        return None


def remove(path: str) -> None:
    """Removes a file, or a folder with all its contents, if there is one."""
    if is_remote(path):
        with contextlib.suppress(OSError):
            file_systems().delete([path])
    elif Path(path).is_dir():
        shutil.rmtree(path)
    else:
        Path(path).unlink(missing_ok=True)


@contextlib.contextmanager
def local_copy(path: str) -> Iterator[str]:
    """Yields a local path to the file or to a copy of it, for code that can only read local files."""
    if not is_remote(path):
        yield path
        return
    with tempfile.NamedTemporaryFile(suffix=Path(path).suffix[:LONGEST_SUFFIX]) as copy:
        _fetch(path, copy)
        yield copy.name


def _fetch(path: str, copy: IO[bytes]) -> None:
    """Copies a file; tries again after an error that may pass, so that a short outage costs no clip."""
    for pause in (*RETRY_SECONDS, None):
        try:
            with open_read(path) as source:
                shutil.copyfileobj(source, copy, COPY_BYTES)
            copy.flush()
            return
        except OSError as error:
            if pause is None or error.errno in ERRNO_OF.values():
                raise
        copy.seek(0)
        copy.truncate()
        time.sleep(pause)


@contextlib.contextmanager
def whole_file(path: str) -> Iterator[Path]:
    """Yields a local path to write to; when the block ends, the file appears at `path` as a whole."""
    with contextlib.ExitStack() as stack:
        local = Path(path)
        if is_remote(path):
            local = Path(stack.enter_context(tempfile.TemporaryDirectory()), local.name[-LONGEST_SUFFIX:])
        partial = local.with_name(local.name + partial_ending())
        partial.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield partial
            put_in_place(str(partial), path)
        finally:
            partial.unlink(missing_ok=True)


def partial_ending() -> str:
    """Ending of a file that is still being written; no other process uses the same."""
    return f"{PARTIAL}-{uuid.uuid4().hex[:8]}"


def put_in_place(finished: str, path: str) -> None:
    """Moves a finished local file to its place, where it appears as a whole."""
    if not is_remote(path):
        Path(finished).replace(path)
        return
    with _translated(path), Path(finished).open("rb") as source, open_write(path) as target:
        shutil.copyfileobj(source, target, COPY_BYTES)
    Path(finished).unlink()


def list_sizes(folder: str, pattern: str) -> dict[str, int]:
    """Paths and sizes (bytes) of the files under a folder that match a pattern, with a single request."""
    require(folder)
    if is_remote(folder):
        with _translated(folder):
            matches = file_systems().match([join(folder, pattern)])[0].metadata_list
        return {match.path: match.size_in_bytes for match in matches}
    return {str(path): path.stat().st_size for path in sorted(Path(folder).glob(pattern)) if path.is_file()}

"""Record files held against the data card: fewer, more or doubled clips are an error. No TensorFlow is needed here.

Data sets have an index with the size of every record, so that sizes of files are all that is looked at. Where there is
no index, or a size is another one, the records of a file are counted by their headers; what they hold is not read.
"""

from __future__ import annotations

import functools
import hashlib
import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pemt_tf.data.record_format import EXTRA_BYTES, HEADER_BYTES, record_length
from pemt_tf.errors import PemtError

INDEX_NAME = "index.parquet"
MOST_COUNTED = 200_000  # clips of a split without an index; more are counted while they are read
_COMPARED_BYTES = 1 << 16
_AGAIN = "copy the data set again, or preprocess again"


@dataclass(frozen=True)
class _Counted:
    """Clips and bytes of a record file."""

    clips: int
    bytes: int


def require_whole(directory: Path, split: str, files: Sequence[str], clips: int) -> None:
    """Compares the record files of a split with the data card and the index.

    Args:
        directory: folder of the data set.
        split: its name.
        files: record files of the split, relative to the folder.
        clips: how many the card says that they hold.

    Raises:
        PemtError: they hold another number of clips, a file is damaged, or two files hold the same clips; says which.
    """
    unknown = sorted(
        path.relative_to(directory).as_posix()
        for path in Path(directory, split).glob("clips-*.tfrecord")
        if path.stat().st_size and path.relative_to(directory).as_posix() not in files
    )
    found = tuple((file, *_size_and_time(directory / file)) for file in (*files, *unknown))
    _compare(directory, split, found, clips, _size_and_time(directory / INDEX_NAME))


def require_count(name: str, split: str, found: int, clips: int | None, where: str = "") -> None:
    """Refuses a split that holds another number of clips than its data card says; None where it does not say.

    Args:
        name: the data set.
        split: the split.
        found: how many clips were read.
        clips: how many the card says.
        where: the files that differ, in words.

    Raises:
        PemtError: with both numbers.
    """
    if clips is not None and found != clips:
        raise PemtError(
            f"{name}: split {split!r} holds {found} clips, but its data card says {clips}{where}; records are missing "
            f"or were added, so no figure would be that of the data set: {_AGAIN}"
        )


def count_records(path: Path) -> int:
    """Records of a file, by their headers.

    Raises:
        PemtError: a header is damaged, or the file ends within a record.
    """
    number = offset = 0
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            while offset < size:
                length = record_length(os.pread(file.fileno(), HEADER_BYTES, offset), number, offset)
                if offset + EXTRA_BYTES + length > size:
                    raise ValueError(f"the file ends within record {number}, at byte {offset}")
                number, offset = number + 1, offset + EXTRA_BYTES + length
    except ValueError as error:
        raise PemtError(f"{path} is not a readable record file: {error}; {_AGAIN}") from None
    except OSError as error:
        raise PemtError(f"{path} cannot be read ({error.strerror or error}); {_AGAIN}") from None
    return number


@functools.lru_cache(maxsize=16)
def _compare(directory: Path, split: str, found: tuple, clips: int, index: tuple) -> None:
    """Looks once at files that do not change; `found` and `index` have sizes and times for that."""
    known = _read_index(directory / INDEX_NAME) if index[0] else {}
    if sum(known[file].clips for file, *_ in found if file in known) != clips:
        known = {}  # of other records
    if not known and clips > MOST_COUNTED:
        return
    total, other = 0, []
    for file, size, _ in found:
        wanted = known.get(file, _Counted(0, 0)) if known else None
        if wanted is not None and wanted.bytes == size:
            total += wanted.clips
            continue
        count = count_records(directory / file) if size else 0
        total += count
        if wanted is not None:
            other.append(f"{file} holds {count} of {wanted.clips}")
            if count == wanted.clips:
                raise PemtError(f"{directory / file} has {size} bytes, but the index says {wanted.bytes}; {_AGAIN}")
        elif not size:
            other.append(f"{file} is empty")
    require_count(str(directory), split, total, clips, f" ({', '.join(other[:3])})" if other else "")
    _require_different(directory, [(file, size) for file, size, _ in found if size])


def _size_and_time(path: Path) -> tuple[int, int]:
    """Size and time of change; zeros for a file that is not there."""
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_size, status.st_mtime_ns


def _read_index(path: Path) -> dict[str, _Counted]:
    """Clips and bytes of every record file by the index; empty where it cannot be read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path, columns=["file", "bytes"], read_dictionary=["file"])
        sums = table.group_by("file").aggregate([("bytes", "sum"), ("bytes", "count")]).to_pylist()
    except (OSError, pa.ArrowException, KeyError):
        return {}
    return {
        one["file"]: _Counted(one["bytes_count"], one["bytes_sum"] + EXTRA_BYTES * one["bytes_count"]) for one in sums
    }


def _require_different(directory: Path, sized: list[tuple[str, int]]) -> None:
    """Refuses two files with the same records."""
    by_size: dict[int, list[str]] = defaultdict(list)
    for file, size in sized:
        by_size[size].append(file)
    seen: dict[tuple, str] = {}
    for size, files in by_size.items():
        for file in files if len(files) > 1 else ():
            with Path(directory, file).open("rb") as opened:
                key = (size, hashlib.sha256(opened.read(_COMPARED_BYTES)).digest())
            if key in seen:
                raise PemtError(f"{directory}: {file} holds the same clips as {seen[key]}; {_AGAIN}")
            seen[key] = file

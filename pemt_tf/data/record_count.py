"""Compares record files with the data card: fewer, more or doubled clips are an error. No TensorFlow is needed here.

Data sets have an index with the size of every record, so only the sizes of files are compared. Where there is no index,
or a size differs, the records of a file are counted by their headers; their content is not read.
"""

from __future__ import annotations

import functools
import hashlib
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from pemt_tf.data.dataset_index import INDEX_NAME, read_index
from pemt_tf.data.record_format import find_records
from pemt_tf.errors import PemtError

MOST_COUNTED = 200_000  # clips of a split without an index; larger splits are counted while they are read
_COMPARED_BYTES = 1 << 16
_AGAIN = "copy the data set again, or preprocess again"


def require_whole(directory: Path, split: str, files: Sequence[str], clips: int) -> None:
    """Refuses a split whose record files, relative to the folder, do not hold the `clips` of its card.

    It also refuses damaged files and two files with the same clips.
    """
    unknown = sorted(
        path.relative_to(directory).as_posix()
        for path in Path(directory, split).glob("clips-*.tfrecord")
        if path.stat().st_size and path.relative_to(directory).as_posix() not in files
    )
    found = tuple((file, *_size_and_time(directory / file)) for file in (*files, *unknown))
    _compare(directory, split, found, clips, _size_and_time(directory / INDEX_NAME))


def require_count(name: str, split: str, found: int, clips: int | None, where: str = "") -> None:
    """Refuses a split whose number of clips `found` is not that of its data card, `clips`; None is not compared.

    The message ends with `where` they differ.
    """
    if clips is not None and found != clips:
        raise PemtError(
            f"{name}: split {split!r} holds {found} clips, but its data card says {clips}{where}; records are missing "
            f"or were added, so no figure would be that of the data set: {_AGAIN}"
        )


def count_records(path: Path) -> int:
    """Number of records of a file, by their headers; PemtError if one is damaged, or the file ends within a record."""
    try:
        return sum(1 for _ in find_records(path))
    except ValueError as error:
        raise PemtError(f"{path} is not a readable record file: {error}; {_AGAIN}") from None
    except OSError as error:
        raise PemtError(f"{path} cannot be read ({error.strerror or error}); {_AGAIN}") from None


@functools.lru_cache(maxsize=16)
def _compare(directory: Path, split: str, found: tuple, clips: int, index: tuple) -> None:
    """Compares each state of the files once: `found` and `index` hold sizes and times of change."""
    known = read_index(directory) if index[0] else {}
    if sum(len(known[file].ids) for file, *_ in found if file in known) != clips:
        known = {}  # an index of other records
    if not known and clips > MOST_COUNTED:
        return
    total, other = 0, []
    for file, size, _ in found:
        listed = known.get(file)
        wanted, wanted_bytes = (len(listed.ids), listed.bytes) if listed is not None else (0, 0)
        if known and size == wanted_bytes:
            total += wanted
            continue
        count = count_records(directory / file) if size else 0
        total += count
        if known:
            other.append(f"{file} holds {count} of {wanted}")
            if count == wanted:
                raise PemtError(f"{directory / file} has {size} bytes, but the index says {wanted_bytes}; {_AGAIN}")
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

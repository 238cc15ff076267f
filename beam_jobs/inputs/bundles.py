"""Files that hold many media files: WebDataset tars, and Parquet files with a column of bytes.

They are listed several at a time. Labels, ids, splits, starts and ends come from what stands beside the media: a JSON
or `.cls` member with the same key, or the other columns. Otherwise folders count, those inside of a tar included.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePosixPath
from typing import Any

from beam_jobs.engines import storage
from beam_jobs.inputs.file_listing import InputClip, InputListing, SkippedFile, split_and_label
from beam_jobs.inputs.manifest_rows import COLUMNS, PARQUET, notes_on_columns
from beam_jobs.inputs.paths import split_named
from pemt_tf.errors import PemtError

TAR = ".tar"
BUNDLES = (TAR, *PARQUET)
AT_ONCE = 8  # files that are listed at the same time
_BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}")
_WORD = re.compile(r"[a-zA-Z]+")

# Lists one file, given its path and its name below the input.
ListFile = Callable[[str, str], InputListing]


def expanded(source: str) -> list[str]:
    """The files that a name with `{000..123}` means, as WebDataset writes them; otherwise the name itself."""
    found = _BRACES.search(source)
    if found is None:
        return [source]
    first, last = found[1], found[2]
    if int(first) > int(last):
        raise PemtError(f"--input {source} counts from {first} down to {last}; write the smaller number first")
    numbers = (f"{number:0{len(first)}d}" for number in range(int(first), int(last) + 1))
    names = [f"{source[: found.start()]}{number}{source[found.end() :]}" for number in numbers]
    return [one for name in names for one in expanded(name)]


def list_bundles(files: Sequence[tuple[str, str]], list_file: ListFile) -> InputListing:
    """Lists files, pairs of path and name, and joins what they hold; the order is that of the files."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        listings = list(pool.map(lambda file: list_file(*file), files))
    clips = [clip for listing in listings for clip in listing.clips]
    seen: dict[str, InputClip] = {}
    for clip in clips:
        other = seen.setdefault(clip.clip_id, clip)
        if other is not clip:
            raise PemtError(f"{clip.name} and {other.name} have the same id, {clip.clip_id}; give them different ids")
    columns = tuple(dict.fromkeys(column for listing in listings for column in listing.extra_columns))
    return InputListing(
        clips,
        [file for listing in listings for file in listing.filtered],
        [file for listing in listings for file in listing.unreadable],
        columns,
        tuple(
            dict.fromkeys(
                (*notes_on_columns(("path", *columns)), *(note for listing in listings for note in listing.notes))
            )
        ),
    )


def with_folders(clip: InputClip, bundle: str, folders: Sequence[str] = ()) -> InputClip:
    """A clip with the split and label of its folders, where it has none of its own.

    Args:
        clip: the clip.
        bundle: name of the file that holds it, relative to the input; `train-0001.tar` names a split as well.
        folders: folders inside of that file.
    """
    parts = PurePosixPath(bundle).parts
    split, label = split_and_label((*parts[:-1], *folders))
    word = _WORD.match(parts[-1])
    split = split or (split_named(word[0]) if word else None)
    labels = clip.labels or (() if label is None else (label,))
    return dataclasses.replace(clip, labels=labels, split=clip.split or split)


def extra_columns(row: dict[str, Any]) -> list[str]:
    """Names of the values that are only carried along."""
    return [name for name in row if name not in COLUMNS]


def unreadable(path: str, name: str, detail: str) -> SkippedFile:
    """A file, or the rest of one, that cannot be read: one failed input."""
    return SkippedFile(path, name, "not_found", detail)


def cannot_open(error: OSError) -> str:
    """Why a file cannot be opened."""
    return f"cannot read the file: {error.strerror or error}"


def name_of(path: str) -> str:
    """Name of a single file."""
    return path.rpartition("/")[2] if storage.is_remote(path) else PurePosixPath(path).name

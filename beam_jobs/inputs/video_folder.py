"""A folder of videos with `metadata.csv`, `metadata.jsonl` or `metadata.parquet`, as Hugging Face's VideoFolder has it.

Its column `file_name` is relative to the folder of the metadata file, of which there may be one for each split.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import PurePosixPath

from beam_jobs.engines import storage
from beam_jobs.inputs.file_listing import InputListing, SkippedFile, split_and_label
from beam_jobs.inputs.manifest import listing_of_rows
from beam_jobs.inputs.manifest_rows import Row, has_column, read_rows
from pemt_tf.files.names import original

METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
FILE_NAME = "file_name"


def metadata_files(listing: InputListing) -> list[SkippedFile]:
    """The metadata files among the files of a folder that are no media: those with a column `file_name`."""
    named = [file for file in listing.filtered if PurePosixPath(file.name).name in METADATA]
    return [file for file in named if has_column(file.path, FILE_NAME)]


def read_video_folder(root: str, listing: InputListing, allow_outside: bool) -> InputListing:
    """The rows of the metadata files; media that no row names are filtered.

    A row's own label and split count; where it has none, folders do.
    """
    files = metadata_files(listing)
    found = listing_of_rows(_rows(files), root, allow_outside)
    clips = []
    for clip in found.clips:
        split, label = split_and_label(PurePosixPath(clip.name).parts[:-1])
        labels = clip.labels or (() if label is None else (label,))
        clips.append(dataclasses.replace(clip, labels=labels, split=clip.split or split))
    named = {_plain(clip.name) for clip in clips}
    unnamed = [SkippedFile(clip.path, clip.name, "not_in_metadata") for clip in listing.clips if clip.name not in named]
    filtered = [file for file in listing.filtered if file not in files]
    return dataclasses.replace(found, clips=clips, filtered=filtered + unnamed, unreadable=listing.unreadable)


def _plain(name: str) -> str:
    return PurePosixPath(name).as_posix()


def _rows(files: list[SkippedFile]) -> Iterator[Row]:
    for file in files:
        folder = PurePosixPath(original(file.name)).parent.as_posix()
        for where, row in read_rows(file.path, FILE_NAME):
            name = row.get("path")
            if isinstance(name, str) and name and folder != ".":
                row = {**row, "path": storage.join(folder, name)}
            yield f"{file.path} {where}", row

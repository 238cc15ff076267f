"""What to prepare: lists the clips of a folder, a glob, a single file or a CSV manifest.

Every file that is found ends up in the listing: as a clip, or as filtered with the rule that left it out.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from apache_beam.io.filesystems import FileSystems

from beam_jobs import storage
from pemt_tf.data.dataset_card import SPLITS
from pemt_tf.errors import PemtError

MEDIA_TYPES = (
    "3g2 3gp asf avi divx dv f4v flv gif m2ts m2v m4v mkv mov mp4 mpe mpeg mpg mts mxf nut ogm ogv rm rmvb ts vob "
    "webm wmv y4m aac ac3 aif aiff amr flac m4a mp2 mp3 oga ogg opus wav wma"
)
MEDIA_SUFFIXES = {f".{name}" for name in MEDIA_TYPES.split()}
SPLIT_FOLDERS = {**{split: split for split in SPLITS}, "val": "validation"}
NO_LABEL_FOLDER = "unlabelled"


@dataclass(frozen=True)
class InputClip:
    """One clip to be made.

    Attributes:
        clip_id: unique within the data set.
        path: where the file is.
        name: the file as the user knows it: relative to the input's root, or as the manifest says.
        label: None if unlabelled.
        start, end: seconds; None for the file's own.
        split: None until one is assigned.
    """

    clip_id: str
    path: str
    name: str
    label: str | None = None
    start: float | None = None
    end: float | None = None
    split: str | None = None


@dataclass(frozen=True)
class FilteredFile:
    """A file that was found and left out; `rule` is `hidden`, `not_media_suffix` or `linked_folder`."""

    path: str
    name: str
    rule: str


@dataclass(frozen=True)
class Listing:
    """All that was found."""

    clips: list[InputClip]
    filtered: list[FilteredFile]


def clip_id(name: str, start: float | None = None, end: float | None = None) -> str:
    """The identity of a clip: its file's name and, where it is only a part of it, the seconds."""
    text = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    if start is None and end is None:
        return text
    return f"{text}#{0 if start is None else start:g}-{'end' if end is None else format(end, 'g')}"


def list_inputs(source: str) -> Listing:
    """Lists a folder, glob or single file (manifests: see `beam_jobs.manifest`).

    Raises:
        PemtError: there is nothing of this name, or no media file in it.
    """
    if not storage.is_remote(source) and Path(source).is_file():
        name = Path(source).name
        return Listing([InputClip(clip_id(name), source, name)], [])
    if storage.is_remote(source) or not Path(source).is_dir():
        listing = _list_matches(source)
    else:
        listing = _list_folder(Path(source))
    if not listing.clips:
        seen = (
            f"{len(listing.filtered)} files were seen, none with a media suffix" if listing.filtered else "it is empty"
        )
        raise PemtError(f"no media files in {source}: {seen}; give a folder, a glob or a .csv manifest of videos")
    return listing


def split_and_label(folders: tuple[str, ...]) -> tuple[str | None, str | None]:
    """What the folders between the root and a file say.

    `train`, `validation` (or `val`) and `test` directly under the root are splits, the next folder is the label;
    otherwise the first folder is. Files without such a folder, or in `unlabelled`, have no label.
    """
    split = SPLIT_FOLDERS.get(folders[0]) if folders else None
    rest = folders[1:] if split else folders
    label = rest[0] if rest and rest[0] != NO_LABEL_FOLDER else None
    return split, label


def _sort_out(path: str, name: str, listing: Listing) -> None:
    parts = PurePosixPath(name).parts
    if any(part.startswith(".") for part in parts):
        listing.filtered.append(FilteredFile(path, name, "hidden"))
    elif PurePosixPath(name).suffix.lower() not in MEDIA_SUFFIXES:
        listing.filtered.append(FilteredFile(path, name, "not_media_suffix"))
    else:
        split, label = split_and_label(parts[:-1])
        listing.clips.append(InputClip(clip_id(name), path, name, label, split=split))


def _list_folder(root: Path) -> Listing:
    listing = Listing([], [])
    for folder, subfolders, files in os.walk(root, onerror=_refuse_unreadable):
        for name in sorted(files):
            path = Path(folder, name)
            _sort_out(str(path), path.relative_to(root).as_posix(), listing)
        for name in sorted(subfolders):
            path = Path(folder, name)
            if path.is_symlink():  # os.walk does not follow it: it may lead anywhere, or in circles
                listing.filtered.append(FilteredFile(str(path), path.relative_to(root).as_posix(), "linked_folder"))
        subfolders.sort()
    return listing


def _refuse_unreadable(error: OSError) -> None:
    raise PemtError(f"cannot read the input folder {error.filename}: {error.strerror}")


def _list_matches(source: str) -> Listing:
    wild = re.search(r"[*?\[]", source)
    if wild is None and not storage.is_remote(source):
        raise PemtError(f"no such file or folder: {source}")
    pattern = source if wild else f"{source.rstrip('/')}/**"
    root = pattern[: re.search(r"[*?\[]", pattern).start()].rpartition("/")[0]
    listing = Listing([], [])
    try:
        matches = FileSystems.match([pattern])[0].metadata_list
    except Exception as error:  # every file system of Beam has its own kinds of error
        raise PemtError(f"cannot list {source}: {' '.join(str(error).split())}") from None
    for match in sorted(matches, key=lambda match: match.path):
        if not match.path.endswith("/") and (storage.is_remote(match.path) or Path(match.path).is_file()):
            _sort_out(match.path, match.path[len(root) :].lstrip("/") if root else match.path, listing)
    return listing

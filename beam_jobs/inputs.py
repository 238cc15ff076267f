"""What to prepare: lists the files of a folder, a glob or a single file (manifests: `beam_jobs.manifest`).

Every file that is found ends up in the listing: as an input, or as filtered with the rule that left it out.
"""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from beam_jobs import storage
from beam_jobs.glob_pattern import WILDCARDS, GlobPattern
from pemt_tf.data.clip_builder import clip_id
from pemt_tf.data.dataset_card import SPLITS
from pemt_tf.errors import PemtError
from pemt_tf.features.media_errors import why_no_file

MEDIA_TYPES = (
    "3g2 3gp asf avi divx dv f4v flv gif m2ts m2v m4v mkv mov mp4 mpe mpeg mpg mts mxf nut ogm ogv rm rmvb ts vob "
    "webm wmv y4m aac ac3 aif aiff amr flac m4a mp2 mp3 oga ogg opus wav wma"
)
MEDIA_SUFFIXES = {f".{name}" for name in MEDIA_TYPES.split()}
SPLIT_FOLDERS = {**{split: split for split in SPLITS}, "val": "validation"}
NO_LABEL_FOLDER = "unlabelled"


@dataclass(frozen=True)
class InputClip:
    """One input: a file, or the stretch of it that a manifest names.

    Attributes:
        clip_id: unique within the data set.
        path: where the file is.
        name: the file as the user knows it: relative to the input's root, or as the manifest says.
        labels: none, one or several.
        start, end: seconds; None for the file's own.
        split: None until one is assigned.
        group: inputs of one group go to one split; None for the file's name.
        size: of the file, bytes; None where it is not known without asking for each file.
        extra: columns of the manifest that are carried along, (name, value).
    """

    clip_id: str
    path: str
    name: str
    labels: tuple[str, ...] = ()
    start: float | None = None
    end: float | None = None
    split: str | None = None
    group: str | None = None
    size: int | None = None
    extra: tuple[tuple[str, str], ...] = ()

    @property
    def label(self) -> str | None:
        """The first label."""
        return self.labels[0] if self.labels else None

    @property
    def group_name(self) -> str:
        """The group, or the file's name."""
        return self.name if self.group is None else self.group

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> InputClip:
        """From what `to_json` gave."""
        extra = tuple((name, value) for name, value in values["extra"])
        return cls(**{**values, "labels": tuple(values["labels"]), "extra": extra})


@dataclass(frozen=True)
class FilteredFile:
    """A file that was found and left out.

    Attributes:
        path, name: as of an `InputClip`.
        rule: `hidden`, `not_media_suffix`, `linked_folder` or `outside_root`.
    """

    path: str
    name: str
    rule: str


@dataclass(frozen=True)
class Listing:
    """All that was found.

    Attributes:
        clips: to be prepared.
        filtered: left out.
        extra_columns: of a manifest, carried along.
    """

    clips: list[InputClip]
    filtered: list[FilteredFile]
    extra_columns: tuple[str, ...] = ()


def list_inputs(source: str, allow_outside: bool = False) -> Listing:
    """Lists a folder, glob or single file.

    Args:
        source: local, or of any file system of Beam.
        allow_outside: follow links to folders, and links to files outside the folder.

    Raises:
        PemtError: there is nothing of this name, or no media file in it.
    """
    if not storage.is_remote(source) and Path(source).is_file():
        name = Path(source).name
        return Listing([InputClip(clip_id(name), source, name, size=Path(source).stat().st_size)], [])
    if storage.is_remote(source):
        listing = _list_objects(source)
    elif Path(source).is_dir():
        listing = _list_folder(Path(source), allow_outside)
    elif WILDCARDS.search(source):
        pattern = GlobPattern(source)
        listing = _list_folder(Path(pattern.root), allow_outside, pattern)
    elif Path(source).exists():
        raise PemtError(f"{why_no_file(source)}; give a file, a folder, a glob or a manifest of videos")
    else:
        raise PemtError(f"no such file or folder: {source}")
    if not listing.clips:
        seen = (
            f"{len(listing.filtered)} files were seen, none of them usable (suffix, hidden, or a link that leads away)"
            if listing.filtered
            else "it is empty"
        )
        raise PemtError(f"no media files in {source}: {seen}; give a folder, a glob or a manifest of videos")
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


def is_within(path: str, root: str) -> bool:
    """Whether a path, links resolved, lies in a folder."""
    if storage.is_remote(path) or storage.is_remote(root):
        return ".." not in path.split("/") and path.startswith(root.rstrip("/") + "/")
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root))


def _sort_out(path: str, name: str, size: int | None, listing: Listing) -> None:
    parts = PurePosixPath(name).parts
    if any(part.startswith(".") for part in parts):
        listing.filtered.append(FilteredFile(path, name, "hidden"))
    elif PurePosixPath(name).suffix.lower() not in MEDIA_SUFFIXES:
        listing.filtered.append(FilteredFile(path, name, "not_media_suffix"))
    else:
        split, label = split_and_label(parts[:-1])
        labels = () if label is None else (label,)
        listing.clips.append(InputClip(clip_id(name), path, name, labels, split=split, size=size))


def _list_folder(root: Path, allow_outside: bool, pattern: GlobPattern | None = None) -> Listing:
    """All files of a folder at any depth, or those that a pattern names."""
    listing = Listing([], [])
    seen = {os.path.realpath(root)}
    for folder, subfolders, files in os.walk(root, onerror=_refuse_unreadable, followlinks=allow_outside):
        for name in sorted(files):
            path = Path(folder, name)
            relative = path.relative_to(root).as_posix()
            if pattern is not None and not pattern.matches(relative):
                continue
            if path.is_symlink() and not allow_outside and not is_within(str(path), str(root)):
                listing.filtered.append(FilteredFile(str(path), relative, "outside_root"))
            else:
                size = path.stat().st_size if path.exists() else None  # a broken link is not_found when it is read
                _sort_out(str(path), relative, size, listing)
        for name in sorted(subfolders):
            path = Path(folder, name)
            relative = path.relative_to(root).as_posix()
            if pattern is not None and not pattern.may_hold(relative):
                subfolders.remove(name)
                continue
            # A linked folder may lead anywhere; one that was seen already would lead in circles.
            if path.is_symlink() and (not allow_outside or os.path.realpath(path) in seen):
                listing.filtered.append(FilteredFile(str(path), relative, "linked_folder"))
                subfolders.remove(name)
            seen.add(os.path.realpath(path))
        subfolders.sort()
    return listing


def _refuse_unreadable(error: OSError) -> None:
    raise PemtError(f"cannot read the input folder {error.filename}: {error.strerror}")


def _list_objects(source: str) -> Listing:
    """The same on another file system of Beam: a folder, a glob or a single object."""
    storage.require(source)
    pattern = GlobPattern(source if WILDCARDS.search(source) else f"{source.rstrip('/')}/**")
    root = pattern.root
    listing = Listing([], [])
    try:
        found = storage.file_systems().match([f"{pattern.prefix}**"])[0].metadata_list
        matches = [match for match in found if pattern.matches(match.path[len(root) :].lstrip("/"))]
        if not matches and not WILDCARDS.search(source):
            matches = storage.file_systems().match([source])[0].metadata_list  # a single object
            root = source.rpartition("/")[0]
    except Exception as error:  # every file system of Beam has its own kinds of error
        raise PemtError(f"cannot list {source}: {' '.join(str(error).split())}") from None
    for match in sorted(matches, key=lambda match: match.path):
        if not match.path.endswith("/"):
            _sort_out(match.path, match.path[len(root) :].lstrip("/"), match.size_in_bytes, listing)
    return listing

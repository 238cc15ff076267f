"""Lists the files of a folder, a glob or a single file (manifests: `beam_jobs.inputs.manifest`).

Every file that is found ends up in the listing: as an input, or as filtered, with the rule that filtered it.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from beam_jobs.engines import storage
from beam_jobs.inputs.paths import WILDCARDS, FileIdentity, GlobPattern, notes_on_folders, split_named
from pemt_tf.data.clip_builder import clip_id
from pemt_tf.errors import PemtError
from pemt_tf.files.names import readable
from pemt_tf.media.media_errors import why_no_file

VIDEO_TYPES = (
    "264 265 3g2 3gp 3gp2 3gpp 3gpp2 amv asf avi divx dv dvr-ms evo f4v flv gif gxf h264 h265 hevc insv ivf lrv m1v "
    "m2p m2t m2ts m2v m4v mjpeg mjpg mk3d mkv mod mov mp2v mp4 mp4v mpe mpeg mpg mpv mts mxf nsv nut obu ogm ogv ogx "
    "qt rm rmvb tod tp trp ts vob vro webm wmv wtv y4m"
)
AUDIO_TYPES = (
    "3ga aac ac3 adts aif aifc aiff amr ape au awb bwf caf dts eac3 ec3 f4a flac m2a m4a m4b m4r mka mp1 mp2 mp3 mpa "
    "mpc oga ogg opus ra rf64 snd spx tta w64 wav wave weba wma wv"
)
MEDIA_SUFFIXES = {f".{name}" for name in f"{VIDEO_TYPES} {AUDIO_TYPES}".split()}
# Given as --input, these would only be reported as a file that cannot be decoded.
NO_INPUT = (
    ".xls .xlsx .ods .numbers .feather .arrow .pkl .pickle .npy .npz .h5 .hdf5 .mat .db .sqlite .xml .yaml .yml .toml "
    ".ini .md .html .htm .pdf .doc .docx .odt .rtf .zip .gz .tgz .bz2 .xz .zst .7z .rar .tfrecord .tfrecords "
    ".py .sh .log .list .lst .tab .psv .srt .vtt .ass"
)
COMPRESSED_TARS = (".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst")
NO_LABEL_FOLDERS = ("unlabelled", "unlabeled")


def hash_fraction(name: str) -> float:
    """A number in [0, 1) that depends on the name alone."""
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


@dataclass(frozen=True)
class InputClip:
    """One input: a file, or the stretch of it that a manifest names."""

    clip_id: str  # unique within the data set
    path: str  # where the file is, in the file system's spelling, or its place inside of another file (`members`)
    name: str  # readable: relative to the input's root, or as the manifest says
    labels: tuple[str, ...] = ()
    start: float | None = None  # seconds; None for the file's own
    end: float | None = None
    split: str | None = None  # None until one is assigned
    group: str | None = None  # goes to one split; None: its name is the group (not for links and other spellings)
    size: int | None = None  # bytes; None where they are not known without asking for each file
    extra: tuple[tuple[str, str], ...] = ()  # further columns of the manifest, (name, value)

    @property
    def label(self) -> str | None:
        """The first label."""
        return self.labels[0] if self.labels else None

    @property
    def group_name(self) -> str:
        """The group, or the file's name."""
        return self.name if self.group is None else self.group

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> InputClip:
        """Restores what `dataclasses.asdict` returned."""
        extra = tuple((name, value) for name, value in values["extra"])
        return cls(**{**values, "labels": tuple(values["labels"]), "extra": extra})


@dataclass(frozen=True)
class SkippedFile:
    """A file that was found and filtered, or a folder that could not be read, which is a failed input."""

    path: str
    name: str
    cause: str  # a rule of docs/data_format.md, such as `hidden`; `not_found` for a folder or the rest of a tar
    detail: str = ""


@dataclass(frozen=True)
class InputListing:
    """Everything that was found."""

    clips: list[InputClip]
    filtered: list[SkippedFile] = dataclasses.field(default_factory=list)
    unreadable: list[SkippedFile] = dataclasses.field(default_factory=list)  # folders
    extra_columns: tuple[str, ...] = ()  # of a manifest, kept in the index
    notes: tuple[str, ...] = ()  # what the user should know about how the input was understood, one line each


def list_inputs(source: str, allow_outside: bool = False) -> InputListing:
    """Lists a folder, glob or single file; refuses it if there is no media file."""
    listing = find_files(source, allow_outside)
    require_clips(source, listing)
    return listing


def find_files(source: str, allow_outside: bool = False) -> InputListing:
    """Lists a folder, glob or single file; there may be no media file in it."""
    _refuse_other_files(source)
    if storage.is_remote(source):
        listing = _list_objects(source)
    elif storage.is_file(source):
        name = readable(os.fsencode(Path(source).name))
        return InputListing([InputClip(clip_id(name), source, name, size=storage.size_of(source))])
    elif storage.is_folder(source):
        listing = _list_folder(source, allow_outside)
    elif WILDCARDS.search(source):
        pattern = GlobPattern(source)
        listing = _list_folder(pattern.root or ".", allow_outside, pattern)
    else:
        raise PemtError(_why_nothing(source))
    folders = (PurePosixPath(clip.name).parts[:-1] for clip in listing.clips)
    return dataclasses.replace(listing, notes=notes_on_folders(folders))


def require_clips(source: str, listing: InputListing) -> None:
    """Refuses an input without any media file."""
    if not listing.clips:
        raise PemtError(
            f"no media files in {source}: {_what_was_seen(listing)}; give a folder, a glob or a manifest of videos"
        )


def _refuse_other_files(source: str) -> None:
    name = source.partition("://")[2].partition("/")[2] if storage.is_remote(source) else source  # not the bucket's
    is_there = not name.endswith("/") if storage.is_remote(source) else storage.is_file(source)
    if is_there and name.lower().endswith(COMPRESSED_TARS) and not WILDCARDS.search(name):
        raise PemtError(
            f"--input {source} is a compressed tar, in which no video can be found by its place; decompress it first"
        )
    if is_there and PurePosixPath(name).suffix.lower() in NO_INPUT.split() and not WILDCARDS.search(name):
        raise PemtError(
            f"--input {source} is neither a video nor a manifest; save it as .csv, .tsv, .jsonl, .json or .parquet "
            "with a column 'path', or give a folder"
        )


def _why_nothing(source: str) -> str:
    try:
        Path(source).stat()
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return f"no such file or folder: {source}"
    except OSError as error:
        return f"cannot read the input {source}: {error.strerror}; give a folder, glob, file or manifest"
    return f"{why_no_file(source)}; give a file, a folder, a glob or a manifest of videos"


def _what_was_seen(listing: InputListing) -> str:
    seen = []
    if listing.filtered:
        seen.append(
            f"{len(listing.filtered)} files were seen, none of them usable (suffix, hidden, or a link that leads away)"
        )
    if listing.unreadable:
        first = listing.unreadable[0]
        what = "file" if first.name.lower().endswith((".tar", ".parquet", ".pq")) else "folder"
        count = f"1 {what}" if len(listing.unreadable) == 1 else f"{len(listing.unreadable)} {what}s"
        seen.append(f"{count} could not be read ({first.name}: {first.detail})")
    return "; ".join(seen) or "it is empty"


def split_and_label(folders: tuple[str, ...]) -> tuple[str | None, str | None]:
    """The split and the label that the folders between the root and a file say.

    `train`, `validation` and `test` (other names: `paths.NAMES_OF`) directly under the root are splits,
    and the next folder is the label; otherwise the first folder is. Files without such a folder, or in `unlabelled`,
    have no label.
    """
    split = split_named(folders[0]) if folders else None
    rest = folders[1:] if split else folders
    label = rest[0] if rest and rest[0].casefold() not in NO_LABEL_FOLDERS else None
    return split, label


def _add_file(
    listing: InputListing, path: str, raw_name: str | bytes, size: int | None, group: str | None = None
) -> None:
    name = readable(raw_name)
    parts = PurePosixPath(name).parts
    if _is_hidden(name):
        listing.filtered.append(SkippedFile(path, name, "hidden"))
    elif PurePosixPath(name).suffix.lower() not in MEDIA_SUFFIXES:
        listing.filtered.append(SkippedFile(path, name, "not_media_suffix"))
    else:
        split, label = split_and_label(parts[:-1])
        labels = () if label is None else (label,)
        listing.clips.append(InputClip(clip_id(name), path, name, labels, split=split, group=group, size=size))


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") for part in PurePosixPath(name).parts)


def _list_folder(root: str, allow_outside: bool, pattern: GlobPattern | None = None) -> InputListing:
    """Lists all files of a folder at any depth, or those that a pattern names."""
    listing = InputListing([])
    identity = FileIdentity(root)
    seen = {os.path.realpath(root)}
    unreadable = functools.partial(_note_unreadable, listing, root)
    for folder, subfolders, files in os.walk(root, onerror=unreadable, followlinks=allow_outside):
        for name in sorted(files):
            path = str(Path(folder, name))
            relative = _relative(path, root)
            if pattern is not None and not pattern.matches(relative):
                continue
            raw_name = os.fsencode(relative)
            is_detour = identity.is_detour(folder, name, relative)
            if is_detour and not allow_outside and not identity.holds(path):
                listing.filtered.append(SkippedFile(path, readable(raw_name), "outside_root"))
            else:
                group = identity.of(path) if is_detour else None
                _add_file(listing, path, raw_name, storage.size_of(path), group)
        for name in sorted(subfolders):
            path = str(Path(folder, name))
            relative = _relative(path, root)
            if pattern is not None and not pattern.may_hold(relative):
                subfolders.remove(name)
                continue
            # A linked folder may lead anywhere; following one that was seen already would never end.
            if storage.is_link(path) and (not allow_outside or os.path.realpath(path) in seen):
                listing.filtered.append(SkippedFile(path, readable(os.fsencode(relative)), "linked_folder"))
                subfolders.remove(name)
            seen.add(os.path.realpath(path))
        subfolders.sort()
    return listing


def _note_unreadable(listing: InputListing, root: str, error: OSError) -> None:
    if Path(error.filename) == Path(root):
        raise PemtError(f"cannot read the input folder {root}: {error.strerror}")
    name = readable(os.fsencode(_relative(error.filename, root)))
    if _is_hidden(name):
        listing.filtered.append(SkippedFile(error.filename, name, "hidden"))
    else:
        detail = f"cannot read the folder: {error.strerror}"
        listing.unreadable.append(SkippedFile(error.filename, name, "not_found", detail))


def _relative(path: str, root: str) -> str:
    return Path(path).relative_to(root).as_posix()


def _list_objects(source: str) -> InputListing:
    """Lists a folder, a glob or a single object on another file system of Beam."""
    storage.require(source)
    pattern = GlobPattern(source if WILDCARDS.search(source) else f"{source.rstrip('/')}/**")
    root = pattern.root
    listing = InputListing([])
    try:
        found = storage.file_systems().match([f"{pattern.prefix}**"])[0].metadata_list
        matches = [match for match in found if pattern.matches(match.path[len(root) :].lstrip("/"))]
        if not matches and not WILDCARDS.search(source):
            matches = storage.file_systems().match([source])[0].metadata_list  # a single object
            root = source.rpartition("/")[0]
    except Exception as error:  # each file system of Beam has its own kinds of error
        raise PemtError(f"cannot list {source}: {' '.join(str(error).split())}") from None
    for match in sorted(matches, key=lambda match: match.path):
        if not match.path.endswith("/"):
            _add_file(listing, match.path, match.path[len(root) :].lstrip("/"), match.size_in_bytes)
    return listing

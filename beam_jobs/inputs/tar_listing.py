"""Lists the media in a tar: only its headers and the small members beside the media are read."""

from __future__ import annotations

import dataclasses
import json
import tarfile
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any, BinaryIO

from beam_jobs.engines import storage
from beam_jobs.inputs import bundles
from beam_jobs.inputs.file_listing import MEDIA_SUFFIXES, InputClip, InputListing, SkippedFile
from beam_jobs.inputs.manifest import described_clip
from beam_jobs.inputs.manifest_rows import known_columns
from beam_jobs.inputs.members import tar_member
from pemt_tf.errors import PemtError
from pemt_tf.files.names import readable
from pemt_tf.files.tar_members import tar_members

ABOUT, CLASS = ".json", ".cls"
MOST_BYTES = 2**20  # of a member with labels


def list_tar(path: str, name: str) -> InputListing:
    """The media of a tar, `name` below the input. A damaged tar is listed up to the damage; the rest is one failure."""
    listing = InputListing([])
    columns: dict[str, None] = {}
    last = "its start"
    try:
        with storage.open_read(path) as file:
            for members in _samples(file):
                last = readable(members[-1].name)
                columns.update(dict.fromkeys(_add_sample(listing, path, name, members, file)))
    except ValueError as error:
        detail = f"the tar cannot be read on after {last}: {error}"
        listing.unreadable.append(bundles.unreadable(path, name, detail))
    except OSError as error:
        listing.unreadable.append(bundles.unreadable(path, name, bundles.cannot_open(error)))
    return InputListing(listing.clips, listing.filtered, listing.unreadable, tuple(columns))


def _samples(file: BinaryIO) -> Iterator[list[tarfile.TarInfo]]:
    """The members of each sample, wherever they stand, those before a damage included; ValueError at the damage."""
    samples: dict[str, list[tarfile.TarInfo]] = {}
    damage = None
    try:
        for member in tar_members(file):
            samples.setdefault(_key(member), []).append(member)
    except ValueError as error:
        damage = error
    yield from samples.values()
    if damage is not None:
        raise damage


def _key(member: tarfile.TarInfo) -> str:
    """What members of one sample share: the folder, and the name up to its first dot."""
    folder, slash, file = member.name.rpartition("/")
    stem = file.partition(".")[0]
    return f"{folder}{slash}{stem or file}"


def _add_sample(
    listing: InputListing, path: str, name: str, members: list[tarfile.TarInfo], file: BinaryIO
) -> list[str]:
    """Adds the media of one sample; returns the names of values that are carried along."""
    media, about, others = [], [], []
    for member in members:
        if member.isdir():
            continue
        suffix = PurePosixPath(member.name).suffix.lower()
        if not member.isreg() or member.issparse():
            listing.filtered.append(_skipped(path, name, member, "not_a_file"))
        elif any(part.startswith(".") and part != "." for part in PurePosixPath(member.name).parts):
            listing.filtered.append(_skipped(path, name, member, "hidden"))
        elif suffix in MEDIA_SUFFIXES:
            media.append(member)
        elif suffix in (ABOUT, CLASS) and member.size <= MOST_BYTES:
            about.append(member)
        else:
            others.append(member)
    beside = [_beside(path, member, about) for member in media]
    rows = [_row(path, found, file) for found in beside]
    used = {member.name for found in beside for member in found.values()}
    others += [member for member in about if member.name not in used]
    listing.filtered.extend(_skipped(path, name, member, "not_media_suffix") for member in others)
    for member, row in zip(media, rows, strict=True):
        clip = _clip(path, name, member, row, many=len(media) > 1)
        if len(media) > 1 and clip.group is None:
            clip = dataclasses.replace(clip, group=f"{name}/{readable(_key(members[0]))}")
        folders = PurePosixPath(_inside(member)).parts[:-1]
        listing.clips.append(bundles.with_folders(clip, name, folders))
    return list(dict.fromkeys(column for row in rows for column in bundles.extra_columns(row)))


def _beside(path: str, media: tarfile.TarInfo, about: list[tarfile.TarInfo]) -> dict[str, tarfile.TarInfo]:
    """By suffix, the member that says what a media file is: the only one of the sample, or the one of its name."""
    found = {}
    for suffix in (ABOUT, CLASS):
        some = [member for member in about if member.name.lower().endswith(suffix)]
        for stem in (media.name.rpartition(".")[0], _key(media)):
            if len(some) > 1:
                some = [member for member in some if member.name[: -len(suffix)] == stem] or some
        if len(some) > 1:
            names = " and ".join(readable(member.name) for member in some[:2])
            raise PemtError(f"{path}: {names} may both be meant for {readable(media.name)}; keep one of them")
        if some:
            found[suffix] = some[0]
    return found


def _skipped(path: str, name: str, member: tarfile.TarInfo, cause: str) -> SkippedFile:
    return SkippedFile(path, f"{name}/{readable(member.name)}", cause)


def _inside(member: tarfile.TarInfo) -> str:
    """A member's readable name, relative to the tar."""
    return readable(member.name.removeprefix("./").lstrip("/"))


def _clip(path: str, name: str, member: tarfile.TarInfo, row: dict[str, Any], many: bool) -> InputClip:
    inside = f"{name}/{_inside(member)}"
    place = tar_member(path, member.name, member.offset_data, member.size)
    if many:
        row = {column: value for column, value in row.items() if column != "id"}  # it would not be unique
    return described_clip(f"{path} member {readable(member.name)}", row, place, inside, inside, member.size)


def _row(path: str, about: dict[str, tarfile.TarInfo], file: BinaryIO) -> dict[str, Any]:
    """What the members beside the media say, as the columns of a manifest."""
    row: dict[str, Any] = {}
    if ABOUT in about:
        where = f"{path} member {readable(about[ABOUT].name)}"
        try:
            found = json.loads(_content(file, about[ABOUT]))
        except ValueError as error:
            raise PemtError(f"{where} is not JSON: {error}") from None
        if not isinstance(found, dict):
            raise PemtError(f"{where} is not a JSON object; write one object, with a label for instance")
        found = {("source_path" if name == "path" else name): value for name, value in found.items()}
        columns = known_columns(where, list(found))
        row = {column: value for column, value in zip(columns, found.values(), strict=True) if column}
    if CLASS in about and not row.get("label") and not row.get("labels"):
        row["label"] = _content(file, about[CLASS]).strip()
    return row


def _content(file: BinaryIO, member: tarfile.TarInfo) -> bytes:
    file.seek(member.offset_data)
    return file.read(member.size)

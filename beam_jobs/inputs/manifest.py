"""Reads a manifest, one input in each row (forms: `beam_jobs.inputs.manifest_rows`)."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from beam_jobs.engines import storage
from beam_jobs.inputs.file_listing import InputClip, InputListing, clip_id
from beam_jobs.inputs.manifest_rows import COLUMNS, LABEL_SEPARATOR, Row, notes_on_columns, read_rows
from beam_jobs.inputs.paths import ALLOWED, FileIdentity, normal_address, split_named
from pemt_tf.errors import PemtError
from pemt_tf.files.names import original, printable, readable
from pemt_tf.media.media_errors import why_no_file

LONGEST_SECONDS = 1e9


def read_manifest(path: str, root: str | None = None, allow_outside: bool = False) -> InputListing:
    """Reads a manifest; docs/data_format.md describes its columns, of which only `path` is required."""
    if root is None:
        root = path.rpartition("/")[0] if storage.is_remote(path) else str(Path(path).parent)
    listing = listing_of_rows(read_rows(path), root, allow_outside, f"{path} ")
    if not listing.clips:
        raise PemtError(f"the manifest {path} has no rows")
    return listing


def listing_of_rows(rows: Iterable[Row], root: str, allow_outside: bool, prefix: str = "") -> InputListing:
    """The inputs that rows name; `prefix` goes before the place of a row in messages."""
    identity = FileIdentity(root)
    clips: list[InputClip] = []
    seen: dict[object, tuple[str, InputClip]] = {}
    columns: dict[str, None] = {}
    for where, row in rows:
        clip = _clip(f"{prefix}{where}", row, root, identity, allow_outside)
        clips.append(clip)
        columns.update(dict.fromkeys(row))
        # A file may be spelled in two ways. A row with an id of its own may name the same stretch again.
        stretch = (_place(clip), clip.start, clip.end)
        for key in (clip.clip_id,) if _text(where, row, "id") else (clip.clip_id, stretch):
            earlier, other = seen.setdefault(key, (where, clip))
            if other is not clip:
                what = "repeats" if _meaning(clip) == _meaning(other) else "contradicts"
                raise PemtError(
                    f"{prefix}{where} {what} {earlier}: {clip.clip_id}; remove one of them, or give them ids"
                )
    extra = tuple(column for column in columns if column not in COLUMNS)
    return InputListing(clips, extra_columns=extra, notes=notes_on_columns(tuple(columns)))


def _place(clip: InputClip) -> str:
    return clip.path if storage.is_remote(clip.path) else os.path.abspath(clip.path)  # noqa: PTH100 - links stay


def _meaning(clip: InputClip) -> InputClip:
    """What a row says, however it spells the file."""
    return dataclasses.replace(clip, clip_id="", path=_place(clip), name="", group=clip.group_name)


def _clip(where: str, row: dict[str, Any], root: str, identity: FileIdentity, allow_outside: bool) -> InputClip:
    path, name = _file(where, row, root)
    if not allow_outside and not identity.holds(path):
        raise PemtError(
            f"{where} names a file outside {root}: {printable(path)}; name its folder with "
            "--input_root, or give --allow_outside"
        )
    size = None if storage.is_remote(path) else storage.size_of(path)
    return described_clip(where, row, path, name, identity.of(path), size)


def described_clip(where: str, row: dict[str, Any], path: str, name: str, file: str, size: int | None) -> InputClip:
    """The input that a row describes.

    Args:
        where: place of the row, for messages.
        row: values by column.
        path: where the file is.
        name: its readable name.
        file: its name for splits, the same however the file is spelled.
        size: bytes; None if unknown.
    """
    start, end = (_seconds(where, column, row.get(column)) for column in ("start", "end"))
    if end is not None and end <= (start or 0.0):
        raise PemtError(f"{where} ends at {end:g} s, before it starts at {start or 0.0:g} s")
    split = _text(where, row, "split")
    if split is not None and split_named(split) is None:
        raise PemtError(f"{where} has split {split!r}; allowed: {ALLOWED}, or empty")
    extra = [(column, _extra_text(where, column, value)) for column, value in row.items() if column not in COLUMNS]
    return InputClip(
        clip_id=_text(where, row, "id") or clip_id(name, start, end),
        path=path,
        name=name,
        labels=_labels(where, row),
        start=start,
        end=end,
        split=None if split is None else split_named(split),
        group=_text(where, row, "group") or (None if file == name else file),
        size=size,
        extra=tuple((column, value) for column, value in sorted(extra) if value is not None),
    )


def _file(where: str, row: dict[str, Any], root: str) -> tuple[str, str]:
    """The path of a row's file, and its name in the user's own words, readable."""
    value = row.get("path")
    if isinstance(value, (dict, list)):
        raise PemtError(f"{where} has path {value!r}; it must be a text")
    given = _as_text(value)
    if given is None or not given.strip():
        raise PemtError(f"{where} has no path")
    # Whether the file exists is not checked: asking a bucket for each of two million files would take a day.
    if storage.is_remote(given) or storage.is_remote(root):
        path = given if storage.is_remote(given) else storage.join(root, given)
        storage.require(path)
        return normal_address(path) if {".", ".."} & set(path.split("/")) else path, readable(given)
    # A name that is not UTF-8 may also be written as the job's own lists write it.
    for name in (original(given), given):
        path = storage.join(root, name)
        if storage.is_file(path):
            return path, readable(os.fsencode(name))
    if not _is_utf8(given):
        raise PemtError(
            f"cannot read the manifest {where}: its path {printable(given)} is not UTF-8, and no file has these bytes; "
            "save the manifest as UTF-8"
        )
    path = storage.join(root, given)
    raise PemtError(f"{where} points nowhere: {printable(why_no_file(path) or path)}")


def _labels(where: str, row: dict[str, Any]) -> tuple[str, ...]:
    several, one = row.get("labels"), _text(where, row, "label")
    if several is None or several == "" or several == []:
        return () if one is None else (one,)
    names = [_checked(where, "labels", label) for label in several] if isinstance(several, list) else [None]
    labels = tuple(dict.fromkeys(name for name in names if name is not None))
    if None in names:
        raise PemtError(f"{where} has labels {several!r}; write a list of names ('a{LABEL_SEPARATOR}b' in CSV)")
    if one is not None and one != labels[0]:
        raise PemtError(f"{where} has label {one!r} and labels {several!r}; give one of the two")
    return labels


def _text(where: str, row: dict[str, Any], column: str) -> str | None:
    value = row.get(column)
    if isinstance(value, (dict, list)):
        raise PemtError(f"{where} has {column} {value!r}; it must be a text")
    return _checked(where, column, value)


def _checked(where: str, column: str, value: Any) -> str | None:
    """A value as text: valid UTF-8, on one line, without surrounding space; None where there is none."""
    text = (_as_text(value) or "").strip() or None
    if text is not None and printable(text) != text:
        raise PemtError(
            f"{where} has {column} '{printable(text)}', which contains a line break, another control character or "
            "bytes that are not UTF-8; write it as text on one line, in UTF-8"
        )
    return text


def _extra_text(where: str, column: str, value: Any) -> str | None:
    """The value of a further column: any valid text; None where there is none."""
    text = _as_text(value)
    for part in (column, text or ""):
        if not _is_utf8(part):
            raise PemtError(
                f"{where} has {printable(column)} '{printable(part)}', which is not UTF-8; save it as UTF-8"
            )
    return text


def _is_utf8(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:  # Python reads other bytes as characters that cannot be encoded
        return False
    return True


def _as_text(value: Any) -> str | None:
    """A value as text; None where there is none."""
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # pandas reads whole numbers as fractions if some rows lack one
    if isinstance(value, (dict, list, bool, int, float)):
        return json.dumps(value, default=str)
    return str(value)


def _seconds(where: str, column: str, value: Any) -> float | None:
    if _as_text(value) is None or (isinstance(value, str) and not value.strip()):
        return None
    try:
        seconds = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        seconds = math.nan
    if not 0.0 <= seconds < LONGEST_SECONDS:
        raise PemtError(f"{where} has {column} {value!r}; write seconds from the start of the file, as in 12.5")
    return seconds

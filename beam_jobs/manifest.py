"""Reads a CSV manifest: one clip a row."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from beam_jobs import storage
from beam_jobs.inputs import InputClip, Listing, clip_id
from pemt_tf.data.dataset_card import SPLITS
from pemt_tf.errors import PemtError

COLUMNS = ("path", "label", "start", "end", "split")


def read_manifest(path: str) -> Listing:
    """Reads a manifest with the header `path,label,start,end,split`; all but `path` may be left out.

    Relative paths are relative to the manifest's folder.

    Raises:
        PemtError: the file cannot be read, or a row is wrong; names the line.
    """
    try:
        with storage.open_read(path) as file:
            text = file.read().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise PemtError(f"cannot read the manifest {path}: {getattr(error, 'strerror', None) or error}") from None
    reader = csv.DictReader(io.StringIO(text, newline=""), restkey="")
    _check_header(path, reader.fieldnames or [])
    folder = path.rpartition("/")[0] if storage.is_remote(path) else str(Path(path).parent)
    clips: dict[str, tuple[int, InputClip]] = {}
    try:
        for row in reader:
            clip = _clip(f"{path} line {reader.line_num}", row, folder)
            earlier, same = clips.setdefault(clip.clip_id, (reader.line_num, clip))
            if earlier != reader.line_num:
                what = "repeats" if same == clip else "contradicts"
                raise PemtError(f"{path} line {reader.line_num} {what} line {earlier}: {clip.name}; remove one of them")
    except csv.Error as error:
        raise PemtError(f"{path} line {reader.line_num} is not readable CSV: {error}") from None
    if not clips:
        raise PemtError(f"the manifest {path} has no rows")
    return Listing([clip for _, clip in clips.values()], [])


def _check_header(path: str, names: list[str]) -> None:
    unknown = [name for name in names if name not in COLUMNS]
    if "path" not in names or unknown:
        problem = f"has an unknown column {unknown[0]!r}" if unknown else "has no column 'path'"
        raise PemtError(f"the manifest {path} {problem}; its first line must name columns out of {','.join(COLUMNS)}")


def _clip(where: str, row: dict[str, str | None], folder: str) -> InputClip:
    if "" in row:
        raise PemtError(f"{where} has more fields than the header")
    values = {name: (value or "").strip() for name, value in row.items()}
    name = values["path"]
    if not name:
        raise PemtError(f"{where} has no path")
    path = name if storage.is_remote(name) else storage.join(folder, name)
    if not storage.exists(path):
        raise PemtError(f"{where} points nowhere: no file at {path}")
    start, end = (_seconds(where, column, values.get(column, "")) for column in ("start", "end"))
    if end is not None and end <= (start or 0.0):
        raise PemtError(f"{where} ends at {end:g} s, before it starts at {start or 0.0:g} s")
    split = values.get("split") or None
    if split is not None and split not in SPLITS:
        raise PemtError(f"{where} has split {split!r}; allowed: {', '.join(SPLITS)}, or empty")
    return InputClip(clip_id(name, start, end), path, name, values.get("label") or None, start, end, split)


def _seconds(where: str, column: str, text: str) -> float | None:
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value < 1e9:
        raise PemtError(f"{where} has {column} {text!r}; write seconds from the start of the file, as in 12.5")
    return value

"""Reads a manifest, one input a row: CSV, JSON lines or Parquet."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from beam_jobs import storage
from beam_jobs.inputs import InputClip, Listing, clip_id, is_within
from pemt_tf.data.dataset_card import SPLITS
from pemt_tf.errors import PemtError
from pemt_tf.features.media_errors import why_no_file

COLUMNS = ("path", "id", "label", "labels", "start", "end", "split", "group")
SUFFIXES = (".csv", ".jsonl", ".ndjson", ".parquet")
LABEL_SEPARATOR = "|"
LONGEST_SECONDS = 1e9

Row = tuple[str, dict[str, Any]]  # where it stands, for messages; its values


def is_manifest(path: str) -> bool:
    """Whether a path has the suffix of a manifest."""
    return path.lower().endswith(SUFFIXES)


def read_manifest(path: str, root: str | None = None, allow_outside: bool = False) -> Listing:
    """Reads a manifest; see docs/data_format.md for its columns. All but `path` may be left out.

    Args:
        path: of the manifest, local or of any file system of Beam.
        root: what relative paths are relative to; the manifest's folder by default.
        allow_outside: take files outside the root.

    Raises:
        PemtError: the file cannot be read, or a row is wrong; names the line or row.
    """
    if root is None:
        root = path.rpartition("/")[0] if storage.is_remote(path) else str(Path(path).parent)
    clips: dict[str, tuple[str, InputClip]] = {}
    extra: dict[str, None] = {}
    for where, row in _rows(path):
        clip = _clip(f"{path} {where}", row, root, allow_outside)
        extra.update(dict.fromkeys(name for name in row if name not in COLUMNS))
        earlier, same = clips.setdefault(clip.clip_id, (where, clip))
        if earlier != where:
            what = "repeats" if same == clip else "contradicts"
            raise PemtError(f"{path} {where} {what} {earlier}: {clip.clip_id}; remove one of them, or give them ids")
    if not clips:
        raise PemtError(f"the manifest {path} has no rows")
    return Listing([clip for _, clip in clips.values()], [], tuple(extra))


def _rows(path: str) -> Iterator[Row]:
    try:
        with storage.open_read(path) as file:
            data = file.read()
        if path.lower().endswith(".parquet"):
            yield from _parquet_rows(path, data)
            return
        text = data.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError, pa.ArrowException) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise PemtError(f"cannot read the manifest {path}: {reason}") from None
    yield from (_csv_rows if path.lower().endswith(".csv") else _json_rows)(path, text)


def _csv_rows(path: str, text: str) -> Iterator[Row]:
    reader = csv.DictReader(io.StringIO(text, newline=""), restkey="")
    try:
        _require_path(path, reader.fieldnames or [])
        for row in reader:
            where = f"line {reader.line_num}"
            if "" in row:
                raise PemtError(f"{path} {where} has more fields than the header")
            values = {name: (value or "").strip() for name, value in row.items()}
            if values.get("labels"):
                values["labels"] = [label.strip() for label in values["labels"].split(LABEL_SEPARATOR)]
            yield where, values
    except csv.Error as error:
        raise PemtError(f"{path} line {reader.line_num} is not readable CSV: {error}") from None


def _json_rows(path: str, text: str) -> Iterator[Row]:
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise PemtError(f"{path} line {number} is not JSON: {error}") from None
        if not isinstance(row, dict):
            raise PemtError(f"{path} line {number} is not a JSON object; write one object a line, with at least a path")
        yield f"line {number}", row


def _parquet_rows(path: str, data: bytes) -> Iterator[Row]:
    file = pq.ParquetFile(pa.BufferReader(data))
    _require_path(path, file.schema_arrow.names)
    number = 0
    for batch in file.iter_batches(4096):
        for row in batch.to_pylist():
            number += 1
            yield f"row {number}", row


def _require_path(path: str, names: list[str]) -> None:
    if "path" not in names:
        known = ", ".join(names) or "nothing"
        raise PemtError(
            f"the manifest {path} has no column 'path' (it has: {known}); columns that count: {','.join(COLUMNS)}"
        )


def _clip(where: str, row: dict[str, Any], root: str, allow_outside: bool) -> InputClip:
    name = _text(where, row, "path")
    if name is None:
        raise PemtError(f"{where} has no path")
    path = name if storage.is_remote(name) else storage.join(root, name)
    size = None
    storage.require(path)
    if not storage.is_remote(path):  # asking a bucket for each of two million files would take a day
        problem = why_no_file(path)
        if problem:
            raise PemtError(f"{where} points nowhere: {problem}")
        size = Path(path).stat().st_size
    if not allow_outside and not is_within(path, root):
        raise PemtError(f"{where} leads out of {root}: {path}; name its folder with --input_root, or --allow_outside")
    start, end = (_seconds(where, column, row.get(column)) for column in ("start", "end"))
    if end is not None and end <= (start or 0.0):
        raise PemtError(f"{where} ends at {end:g} s, before it starts at {start or 0.0:g} s")
    split = _text(where, row, "split")
    if split is not None and split not in SPLITS:
        raise PemtError(f"{where} has split {split!r}; allowed: {', '.join(SPLITS)}, or empty")
    extra = [(column, _as_text(value)) for column, value in row.items() if column not in COLUMNS]
    return InputClip(
        clip_id=_text(where, row, "id") or clip_id(name, start, end),
        path=path,
        name=name,
        labels=_labels(where, row),
        start=start,
        end=end,
        split=split,
        group=_text(where, row, "group"),
        size=size,
        extra=tuple((column, value) for column, value in sorted(extra) if value is not None),
    )


def _labels(where: str, row: dict[str, Any]) -> tuple[str, ...]:
    several, one = row.get("labels"), _text(where, row, "label")
    if several is None or several == "" or several == []:
        return () if one is None else (one,)
    if not isinstance(several, list) or any(_as_text(label) in (None, "") for label in several):
        raise PemtError(f"{where} has labels {several!r}; write a list of names ('a{LABEL_SEPARATOR}b' in CSV)")
    labels = tuple(dict.fromkeys(_as_text(label) for label in several))
    if one is not None and one != labels[0]:
        raise PemtError(f"{where} has label {one!r} and labels {several!r}; give one of the two")
    return labels


def _text(where: str, row: dict[str, Any], column: str) -> str | None:
    value = row.get(column)
    if isinstance(value, (dict, list)):
        raise PemtError(f"{where} has {column} {value!r}; it must be a text")
    return _as_text(value)


def _as_text(value: Any) -> str | None:
    """What a value is called; None where there is none."""
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # a column of whole numbers with holes is read as fractions
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _seconds(where: str, column: str, value: Any) -> float | None:
    if _as_text(value) is None:
        return None
    try:
        seconds = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        seconds = math.nan
    if not 0.0 <= seconds < LONGEST_SECONDS:
        raise PemtError(f"{where} has {column} {value!r}; write seconds from the start of the file, as in 12.5")
    return seconds

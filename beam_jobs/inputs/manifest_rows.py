"""The rows of a manifest, in any form: CSV with commas, semicolons or tabs, JSON or Parquet.

A column whose name nearly matches a known one is refused rather than ignored.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from beam_jobs.engines import storage
from pemt_tf.errors import PemtError
from pemt_tf.files.names import printable

TABLES, OBJECTS, PARQUET = (".csv", ".tsv", ".txt"), (".jsonl", ".ndjson", ".json"), (".parquet", ".pq")
SUFFIXES = (*TABLES, *OBJECTS, *PARQUET)
COMPRESSED = ".gz"
DELIMITERS = ",;\t"
LABEL_SEPARATOR = "|"

COLUMNS = ("path", "id", "label", "labels", "start", "end", "split", "group")
_SILENTLY_MISSED = COLUMNS[2:]  # a row without them still makes a clip, but a different one
# Words that add nothing to the name of a column: `start_time`, `end (s)`, `label name`.
_FILLERS = (
    "s sec secs second seconds ms msec time times timestamp in name names file video clip class column value text"
)
_OTHER_NAMES = {
    "path": "file filename filepath video videos videopath videofile uri url media audio wav clip fname",
    "label": "class classname category target tag tags annotation classlabel",
    "start": "begin from onset tstart",
    "end": "stop to finish until offset duration tend",
    "split": "subset partition fold",
}
_COLUMN_OF = {other: column for column, others in _OTHER_NAMES.items() for other in others.split()}
_INDEX = re.compile(r"unnamed: \d+|__index_level_\d+__", re.IGNORECASE)  # pandas's names for its index
_SEP_LINE = re.compile(r'"?sep=.?"?', re.IGNORECASE)  # a first line that tells Excel the separator

Row = tuple[str, dict[str, Any]]  # its line or number, for messages; its values by column


def read_rows(path: str, path_column: str = "path") -> Iterator[Row]:
    """Reads the rows of a manifest on the local disk or on any file system of Beam.

    The values of `path_column` come as those of `path`.
    """
    try:
        with storage.open_read(path) as file:
            data = file.read()
        if path.lower().endswith(COMPRESSED):
            data = gzip.decompress(data)
        if _plain(path).endswith(PARQUET):
            yield from _parquet_rows(path, data, path_column)
            return
        text = _text(data)
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, pa.ArrowException) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise PemtError(f"cannot read the manifest {path}: {reason}") from None
    yield from (_table_rows if _plain(path).endswith(TABLES) else _object_rows)(path, text, path_column)


def has_column(path: str, column: str) -> bool:
    """Whether the head of a table, the first object of JSON lines or the columns of a Parquet file name a column."""
    try:
        with storage.open_read(path) as file:
            if _plain(path).endswith(PARQUET):
                return column in pq.ParquetFile(file).schema_arrow.names
            lines = (line.strip() for line in _text(file.read()).splitlines())
            return column in re.findall(r"\w+", next((line for line in lines if line), ""))
    except (OSError, UnicodeDecodeError, pa.ArrowException):
        return False


def _plain(path: str) -> str:
    return path.lower().removesuffix(COMPRESSED)


def _text(data: bytes) -> str:
    """Decodes UTF-8 or, for Excel's "Unicode text", UTF-16; other bytes are kept, because file names may have them."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16")
    return data.decode("utf-8-sig", "surrogateescape")


def _table_rows(path: str, text: str, path_column: str) -> Iterator[Row]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(path, text, path_column), strict=True)
    columns: list[str | None] = []
    try:
        for fields in reader:
            is_blank = not any(field.strip() for field in fields)
            if is_blank or (reader.line_num == 1 and fields[0].casefold().startswith("sep=")):
                continue
            if not columns:
                columns = known_columns(path, fields, path_column)
                require_path(path, columns)
                continue
            where = f"line {reader.line_num}"
            yield where, _values(f"{path} {where}", columns, fields)
    except csv.Error as error:
        raise PemtError(f"{path} line {reader.line_num} is not readable CSV: {error}") from None
    if not columns:
        require_path(path, columns)


def _delimiter(path: str, text: str, path_column: str) -> str:
    """The character that separates the fields: the one that makes `path_column` a column of the first line."""
    lines = (line for line in text.splitlines() if line.strip() and not _SEP_LINE.fullmatch(line.strip()))
    header = next(lines, "")
    for delimiter in DELIMITERS:
        names = next(csv.reader([header], delimiter=delimiter), [])
        if path_column in (name.strip().casefold() for name in names):
            return delimiter
    return max(DELIMITERS, key=header.count)


def _values(where: str, columns: list[str | None], fields: list[str]) -> dict[str, Any]:
    if any(field.strip() for field in fields[len(columns) :]):
        raise PemtError(f"{where} has more fields ({len(fields)}) than the header ({len(columns)})")
    if len(fields) < len(columns):
        raise PemtError(f"{where} has fewer fields ({len(fields)}) than the header ({len(columns)}); write all commas")
    values: dict[str, Any] = {}
    for place, (column, field) in enumerate(zip(columns, fields, strict=False)):
        if column:
            values[column] = field.strip()
        elif column == "" and field.strip() and place:  # the first may be the index of a pandas table
            raise PemtError(f"{where} has {field.strip()!r} in a column without a name; name it in the header")
    if values.get("labels"):
        values["labels"] = [label.strip() for label in values["labels"].split(LABEL_SEPARATOR)]
    return values


def _object_rows(path: str, text: str, path_column: str) -> Iterator[Row]:
    whole = _whole(path, text)
    for where, row in _json_lines(path, text) if whole is None else whole:
        columns = known_columns(f"{path} {where}", list(row), path_column)
        yield where, {column: value for column, value in zip(columns, row.values(), strict=True) if column}


def _whole(path: str, text: str) -> list[Row] | None:
    """The rows of a file that is one list of objects; None if it must be one object on each line."""
    if not text.lstrip().startswith("[") and not _plain(path).endswith(".json"):
        return None
    try:
        found = json.loads(text, object_pairs_hook=_unique)
    except ValueError:
        return None
    if isinstance(found, dict) and not isinstance(found.get("path"), str):
        raise PemtError(
            f"{path} holds one JSON object; write a list of objects, one for each input, each with at least a path "
            "(pandas: to_json(orient='records'))"
        )
    rows = [found] if isinstance(found, dict) else found
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        return None
    return [(f"item {number}", row) for number, row in enumerate(rows, 1)]


def _json_lines(path: str, text: str) -> Iterator[Row]:
    for number, line in enumerate(text.split("\n"), 1):  # other line separators may be part of a text
        if not line.strip():
            continue
        try:
            row = json.loads(line, object_pairs_hook=_unique)
        except ValueError as error:
            raise PemtError(f"{path} line {number} is not JSON: {error}") from None
        if not isinstance(row, dict):
            raise PemtError(f"{path} line {number} is not a JSON object; write one object a line, with at least a path")
        yield f"line {number}", row


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice!r} is there twice")
    return found


def _parquet_rows(path: str, data: bytes, path_column: str) -> Iterator[Row]:
    file = pq.ParquetFile(pa.BufferReader(data))
    columns = known_columns(path, file.schema_arrow.names, path_column)
    require_path(path, columns)
    number = 0
    for batch in file.iter_batches(4096):
        for values in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            number += 1
            yield f"row {number}", {column: value for column, value in zip(columns, values, strict=True) if column}


def known_columns(where: str, names: Sequence[str], path_column: str = "path") -> list[str | None]:
    """Column names, stripped, known ones in small letters; "" if unnamed, None for the index of a pandas table."""
    columns = [_known(name.strip()) for name in names]
    columns = ["path" if column == path_column else column for column in columns]
    for place, column in enumerate(columns):
        if column and column in columns[:place]:
            spelled = {repr(printable(names[at])): None for at in (columns.index(column), place)}
            raise PemtError(f"{where} has two columns {' and '.join(spelled)}; remove or rename one of them")
    for column in columns:
        meant = _nearly(column, columns)
        if column and meant:
            raise PemtError(
                f"{where} has a column {printable(column)!r}, which looks like {meant!r}; call it {meant!r}, or "
                "something else if it is only to be carried along"
            )
    return columns


def require_path(where: str, columns: Sequence[str | None]) -> None:
    """Refuses a manifest without paths."""
    if "path" not in columns:
        known = ", ".join(printable(column) for column in columns if column) or "nothing"
        meant = [column for column in columns if column and _COLUMN_OF.get(_letters(column)) == "path"]
        advice = f"call {printable(meant[0])!r} 'path'; " if len(meant) == 1 else ""
        raise PemtError(
            f"the manifest {where} has no column 'path' (it has: {known}); {advice}"
            f"a table begins with the names of its columns; columns that count: {','.join(COLUMNS)}"
        )


def notes_on_columns(columns: Sequence[str]) -> tuple[str, ...]:
    """Notes for the user about columns that may be misspelled known ones, one line each."""
    notes = []
    for column in columns:
        meant = _COLUMN_OF.get(_letters(column))
        there = {*columns, *(["label"] if "labels" in columns else [])}
        if meant and meant not in there:
            notes.append(f"no column {meant!r}: {printable(column)!r} is only carried along; rename it if it is meant")
    return tuple(notes)


def _known(name: str) -> str | None:
    if _INDEX.fullmatch(name):
        return None
    return name.casefold() if name.casefold() in COLUMNS else name


def _letters(name: str) -> str:
    return "".join(re.findall(r"[a-z]+", name.casefold()))


def _nearly(column: str | None, columns: Sequence[str | None]) -> str | None:
    """The known column that a name nearly matches, if the manifest lacks it."""
    if not column or column in COLUMNS:
        return None
    words = re.findall(r"[a-z]+", column.casefold())
    meant = [word for word in words if word in _SILENTLY_MISSED]
    if len(meant) != 1 or set(words) - set(meant) - set(_FILLERS.split()):
        joined = "".join(words)
        meant = [known for known in _SILENTLY_MISSED if _differs_in_one(joined, known)]
    absent = [known for known in meant if known not in columns and not _has_labels(known, columns)]
    return absent[0] if absent else None


def _has_labels(column: str, columns: Sequence[str | None]) -> bool:
    return column in ("label", "labels") and ("label" in columns or "labels" in columns)


def _differs_in_one(name: str, known: str) -> bool:
    """Whether two names differ in one letter: one more, one less, another one, or two exchanged."""
    if name == known:
        return True  # they differ in other characters, such as `start_`
    if len(known) < 4 or abs(len(name) - len(known)) > 1:
        return name == f"{known}s"
    same = next((place for place, (a, b) in enumerate(zip(name, known, strict=False)) if a != b), None)
    if same is None:
        return True  # one letter more or less at the end
    rest, wanted = name[same:], known[same:]
    return (
        rest[1:] == wanted[1:]
        or rest[1:] == wanted
        or rest == wanted[1:]
        or (rest[:2] == wanted[1::-1] and rest[2:] == wanted[2:])
    )

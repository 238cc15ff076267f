"""The rows of a manifest, whatever its form: CSV with commas, semicolons or tabs, JSON or Parquet."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from beam_jobs.engines import storage
from beam_jobs.inputs.manifest_columns import known_columns, require_path
from pemt_tf.errors import PemtError

TABLES, OBJECTS, PARQUET = (".csv", ".tsv", ".txt"), (".jsonl", ".ndjson", ".json"), (".parquet", ".pq")
SUFFIXES = (*TABLES, *OBJECTS, *PARQUET)
COMPRESSED = ".gz"
DELIMITERS = ",;\t"
LABEL_SEPARATOR = "|"

Row = tuple[str, dict[str, Any]]  # where it stands, for messages; its values by column


def is_manifest(path: str) -> bool:
    """Whether a path has the suffix of a manifest."""
    return _plain(path).endswith(SUFFIXES)


def read_rows(path: str) -> Iterator[Row]:
    """The rows of a manifest, local or of any file system of Beam.

    Raises:
        PemtError: it cannot be read; names the line or row.
    """
    try:
        with storage.open_read(path) as file:
            data = file.read()
        if path.lower().endswith(COMPRESSED):
            data = gzip.decompress(data)
        if _plain(path).endswith(PARQUET):
            yield from _parquet_rows(path, data)
            return
        text = _text(data)
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, pa.ArrowException) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise PemtError(f"cannot read the manifest {path}: {reason}") from None
    yield from (_table_rows if _plain(path).endswith(TABLES) else _object_rows)(path, text)


def _plain(path: str) -> str:
    return path.lower().removesuffix(COMPRESSED)


def _text(data: bytes) -> str:
    """Bytes that are not UTF-8 stay, because a file's name may have them; UTF-16 is what Excel calls Unicode text."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16")
    return data.decode("utf-8-sig", "surrogateescape")


def _table_rows(path: str, text: str) -> Iterator[Row]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(path, text), strict=True)
    columns: list[str | None] = []
    try:
        for fields in reader:
            if not any(field.strip() for field in fields) or _names_delimiter(fields, reader.line_num):
                continue
            if not columns:
                columns = known_columns(path, fields)
                require_path(path, columns)
                continue
            where = f"line {reader.line_num}"
            yield where, _values(f"{path} {where}", columns, fields)
    except csv.Error as error:
        raise PemtError(f"{path} line {reader.line_num} is not readable CSV: {error}") from None
    if not columns:
        require_path(path, columns)


def _delimiter(path: str, text: str) -> str:
    """What separates the fields: the sign that makes a column `path` of the first line."""
    lines = (line for line in text.splitlines() if line.strip() and not _SEP_LINE.fullmatch(line.strip()))
    header = next(lines, "")
    for delimiter in DELIMITERS:
        names = next(csv.reader([header], delimiter=delimiter), [])
        if "path" in (name.strip().casefold() for name in names):
            return delimiter
    return max(DELIMITERS, key=header.count)


_SEP_LINE = re.compile(r'"?sep=.?"?', re.IGNORECASE)  # a first line for Excel


def _names_delimiter(fields: list[str], line: int) -> bool:
    return line == 1 and fields[0].casefold().startswith("sep=")


def _values(where: str, columns: list[str | None], fields: list[str]) -> dict[str, Any]:
    if any(field.strip() for field in fields[len(columns) :]):
        raise PemtError(f"{where} has more fields ({len(fields)}) than the header ({len(columns)})")
    if len(fields) < len(columns):
        raise PemtError(f"{where} has fewer fields ({len(fields)}) than the header ({len(columns)}); write all commas")
    values: dict[str, Any] = {}
    for place, (column, field) in enumerate(zip(columns, fields, strict=False)):
        if column:
            values[column] = field.strip()
        elif column == "" and field.strip() and place:  # the first may be the index that pandas writes
            raise PemtError(f"{where} has {field.strip()!r} in a column without a name; name it in the header")
    if values.get("labels"):
        values["labels"] = [label.strip() for label in values["labels"].split(LABEL_SEPARATOR)]
    return values


def _object_rows(path: str, text: str) -> Iterator[Row]:
    whole = _whole(path, text)
    for where, row in _json_lines(path, text) if whole is None else whole:
        columns = known_columns(f"{path} {where}", list(row))
        yield where, {column: value for column, value in zip(columns, row.values(), strict=True) if column}


def _whole(path: str, text: str) -> list[Row] | None:
    """The rows of a file that is one list of objects; None if it is none, and so should be one object a line."""
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
    for number, line in enumerate(text.split("\n"), 1):  # only these end a line: others may stand in a text
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


def _parquet_rows(path: str, data: bytes) -> Iterator[Row]:
    file = pq.ParquetFile(pa.BufferReader(data))
    columns = known_columns(path, file.schema_arrow.names)
    require_path(path, columns)
    number = 0
    for batch in file.iter_batches(4096):
        for values in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            number += 1
            yield f"row {number}", {column: value for column, value in zip(columns, values, strict=True) if column}

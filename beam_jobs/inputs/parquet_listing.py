"""Lists the media in a column of a Parquet file, such as Hugging Face `datasets` writes; their bytes are not read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from beam_jobs.engines import storage
from beam_jobs.inputs import bundles
from beam_jobs.inputs.file_listing import InputListing
from beam_jobs.inputs.manifest import described_clip
from beam_jobs.inputs.manifest_rows import COLUMNS, known_columns
from beam_jobs.inputs.members import parquet_cell
from pemt_tf.errors import PemtError
from pemt_tf.files.names import readable

BYTES_NAMES = ("bytes", "video", "audio", "media", "content", "mp4", "data")
ROWS_AT_ONCE = 4096


def has_bytes(path: str, if_damaged: bool) -> bool:
    """Whether a Parquet file holds media; what to say of one that cannot be read is up to the caller."""
    try:
        with storage.open_read(path) as file, pq.ParquetFile(file) as table:
            return bool(bytes_columns(table.schema_arrow))
    except (OSError, pa.ArrowException):
        return if_damaged


def bytes_columns(schema: pa.Schema) -> list[str]:
    """The columns that may hold media: those of bytes and path, as `datasets` has them, or of bytes with such a name.

    In a table without a column `path`, which is not a manifest, a column of bytes may have any name.
    """
    names = {field.name: field.name.strip().casefold() for field in schema}
    binary = [field.name for field in schema if _is_binary(field.type) and names[field.name] not in COLUMNS]
    pairs = [field.name for field in schema if _is_pair(field.type)]
    found = pairs or [name for name in binary if names[name] in BYTES_NAMES]
    return found or ([] if "path" in names.values() else binary)


def _is_binary(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _is_pair(kind: pa.DataType) -> bool:
    return pa.types.is_struct(kind) and "bytes" in [kind.field(place).name for place in range(kind.num_fields)]


def list_parquet(path: str, name: str) -> InputListing:
    """The rows of a Parquet file, `name` below the input; a file that cannot be read is one failure."""
    listing = InputListing([])
    try:
        with storage.open_read(path) as file, pq.ParquetFile(file) as table:
            column = _bytes_column(path, table.schema_arrow)
            dropped = [other for other in _held_bytes(table.schema_arrow) if other != column]
            notes = tuple(f"{name}: column {other!r} holds bytes and is not carried along" for other in dropped)
            columns = _add_rows(listing, path, name, table, column)
    except OSError as error:
        listing.unreadable.append(bundles.unreadable(path, name, bundles.cannot_open(error)))
        return listing
    except pa.ArrowException as error:
        detail = f"not a Parquet file, or damaged: {' '.join(str(error).split())}"
        listing.unreadable.append(bundles.unreadable(path, name, detail))
        return listing
    return InputListing(listing.clips, extra_columns=tuple(columns), notes=notes)


def _bytes_column(path: str, schema: pa.Schema) -> str:
    found = bytes_columns(schema)
    if len(found) != 1:
        said = f"several columns of bytes: {', '.join(found)}" if found else "no column of bytes"
        raise PemtError(f"{path} has {said}; call the one with the videos 'bytes', and give it a table of its own")
    return found[0]


def _held_bytes(schema: pa.Schema) -> list[str]:
    names = [field.name for field in schema if _is_binary(field.type) or _is_pair(field.type)]
    return [name for name in names if name.strip().casefold() not in COLUMNS]


def _add_rows(listing: InputListing, path: str, name: str, table: pq.ParquetFile, column: str) -> list[str]:
    schema = table.schema_arrow
    others = [field.name for field in schema if field.name not in _held_bytes(schema)]
    known = known_columns(path, others)
    is_pair = _is_pair(schema.field(column).type)
    leaves = [f"{column}.bytes", f"{column}.path"] if is_pair else [column]
    has_paths = is_pair and schema.field(column).type.get_field_index("path") >= 0
    number = 0
    for group in range(table.num_row_groups):
        read = others + (leaves[1:] if has_paths else [])
        in_group = 0
        for values in _batches(table, group, read):
            row = {key: values.get(other) for key, other in zip(known, others, strict=True) if key}
            said = (values.get(column) or {}).get("path") or row.pop("path", None)
            inside = f"{name}/row-{number:07d}" + (f"/{readable(PurePosixPath(str(said)).name)}" if said else "")
            row = {key: _named(schema, others, known, key, value) for key, value in row.items()}
            place = parquet_cell(path, str(said or ""), leaves[0], group, in_group)
            clip = described_clip(f"{path} row {number}", row, place, inside, inside, None)
            listing.clips.append(bundles.with_folders(clip, name))
            number, in_group = number + 1, in_group + 1
    return [key for key in known if key and key not in COLUMNS]


def _batches(table: pq.ParquetFile, group: int, columns: list[str]) -> Any:
    """The rows of a row group as dicts, without its bytes."""
    if not columns:
        yield from ({} for _ in range(table.metadata.row_group(group).num_rows))
        return
    for batch in table.iter_batches(ROWS_AT_ONCE, row_groups=[group], columns=columns):
        yield from batch.to_pylist()


def _named(schema: pa.Schema, others: list[str], known: Sequence[str | None], key: str, value: Any) -> Any:
    """A label's name in place of its number, where the file says the names as `datasets` does."""
    if key not in ("label", "labels") or value is None:
        return value
    names = _class_names(schema, others[list(known).index(key)])
    if not names:
        return value
    one = [names[each] if isinstance(each, int) and 0 <= each < len(names) else each for each in _listed(value)]
    known_ones = [each for each in one if each != -1]  # `datasets` has -1 where there is no label
    return known_ones if isinstance(value, list) else next(iter(known_ones), None)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _class_names(schema: pa.Schema, column: str) -> list[str]:
    try:
        about = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"][column]
        about = about.get("feature", about)
        return about["names"] if about.get("_type") == "ClassLabel" else []
    except (KeyError, TypeError, ValueError, AttributeError):
        return []

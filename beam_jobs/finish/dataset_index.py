"""The index, `index.parquet`: one row for each clip, in the order of the record files."""

from __future__ import annotations

import contextlib
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from beam_jobs.engines import storage
from beam_jobs.finish import arrow_columns
from beam_jobs.worker.outcomes import FLAGS, InputOutcome, WrittenClip

INDEX_NAME = "index.parquet"
ROWS_AT_ONCE = 4096
MEASURED = ("bytes", *FLAGS, "loudness_db", "peak_db", "motion", "brightness")

COLUMNS = (
    (pa.string(), "id path"),
    (pa.float64(), "start end"),
    (pa.string(), "label"),
    (pa.list_(pa.string()), "labels"),
    (pa.string(), "split group file"),
    (pa.int64(), "row bytes"),
    (pa.bool_(), "has_video has_audio silent frozen"),
    (pa.float64(), "loudness_db peak_db motion brightness"),
    (pa.binary(), "picture_hash sound_hash"),
    (pa.list_(pa.string()), "notes"),
    (pa.float64(), "source_duration source_frame_rate"),
    (pa.int64(), "source_width source_height"),
    (pa.string(), "source_video_codec source_audio_codec"),
    (pa.int64(), "source_sample_rate source_channels"),
    (pa.map_(pa.string(), pa.string()), "extra"),
)
SCHEMA = pa.schema([(name, kind) for kind, names in COLUMNS for name in names.split()])


class IndexWriter:
    """Writes the index row by row; memory does not grow with it. Use it as a context manager."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._rows: list[dict[str, Any]] = []
        self._row_of_file: dict[str, int] = {}

    def __enter__(self) -> IndexWriter:
        self._stack = contextlib.ExitStack()
        path = self._stack.enter_context(storage.whole_file(storage.join(self._folder, INDEX_NAME)))
        self._writer = self._stack.enter_context(pq.ParquetWriter(path, SCHEMA, compression="zstd"))
        return self

    def __exit__(self, *error: Any) -> None:
        self._flush()
        self._stack.__exit__(*error)

    def add(self, outcome: InputOutcome, clip: WrittenClip, file: str) -> None:
        """Adds the next clip of a record file."""
        row = self._row_of_file.get(file, 0)
        self._row_of_file = {file: row + 1}
        self._rows.append(_row(outcome, clip, file, row))
        if len(self._rows) == ROWS_AT_ONCE:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            self._writer.write_table(arrow_columns.table(self._rows, SCHEMA))
            self._rows = []


def _row(outcome: InputOutcome, clip: WrittenClip, file: str, row: int) -> dict[str, Any]:
    one = outcome.input
    return {
        "id": clip.clip_id,
        "path": _text(one.name),
        "start": clip.start,
        "end": clip.end,
        "label": one.label,
        "labels": one.labels,
        "split": one.split,
        "group": _text(one.group_name),
        "file": file,
        "row": row,
        **{name: getattr(clip, name) for name in MEASURED},
        "picture_hash": bytes.fromhex(clip.picture_hash) or None,
        "sound_hash": bytes.fromhex(clip.sound_hash) or None,
        "notes": clip.notes,
        **{f"source_{name}": value for name, value in outcome.source.items()},
        "extra": one.extra,
    }


def _text(name: str) -> str:
    """A file name as text; bytes that are not UTF-8 are written as escapes."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")

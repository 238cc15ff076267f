"""The index, `index.parquet`: one row for each clip, in the order of the record files."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from beam_jobs.engines import storage
from beam_jobs.finish import arrow_columns
from beam_jobs.worker.outcomes import FLAGS, InputOutcome, WrittenClip

INDEX_NAME = "index.parquet"
ROWS_AT_ONCE = 4096
MEASURED = ("bytes", *FLAGS, "loudness_db", "peak_db", "motion", "brightness")

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("path", pa.string()),
        ("start", pa.float64()),
        ("end", pa.float64()),
        ("label", pa.string()),
        ("labels", pa.list_(pa.string())),
        ("split", pa.string()),
        ("group", pa.string()),
        ("file", pa.string()),
        ("row", pa.int64()),
        ("bytes", pa.int64()),
        ("has_video", pa.bool_()),
        ("has_audio", pa.bool_()),
        ("silent", pa.bool_()),
        ("frozen", pa.bool_()),
        ("loudness_db", pa.float64()),
        ("peak_db", pa.float64()),
        ("motion", pa.float64()),
        ("brightness", pa.float64()),
        ("picture_hash", pa.binary()),
        ("sound_hash", pa.binary()),
        ("notes", pa.list_(pa.string())),
        ("source_duration", pa.float64()),
        ("source_frame_rate", pa.float64()),
        ("source_width", pa.int64()),
        ("source_height", pa.int64()),
        ("source_video_codec", pa.string()),
        ("source_audio_codec", pa.string()),
        ("source_sample_rate", pa.int64()),
        ("source_channels", pa.int64()),
        ("extra", pa.map_(pa.string(), pa.string())),
    ]
)


class IndexWriter:
    """Writes the index row by row; memory does not grow with it. Use it as a context manager."""

    def __init__(self, folder: str) -> None:
        """Args: folder: working folder of the data set."""
        self._folder = folder
        self._rows: list[dict[str, Any]] = []
        self._row_of_file: dict[str, int] = {}

    def __enter__(self) -> IndexWriter:
        self._scratch = tempfile.TemporaryDirectory()
        # A local folder's file is made in it, so that it can be moved to its place.
        where = self._scratch.name if storage.is_remote(self._folder) else self._folder
        self._path = Path(where, f"{INDEX_NAME}.partial-0")
        self._writer = pq.ParquetWriter(self._path, SCHEMA, compression="zstd")
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        self._flush()
        self._writer.close()
        if kind is None:
            storage.put_in_place(str(self._path), storage.join(self._folder, INDEX_NAME))
        self._scratch.cleanup()

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

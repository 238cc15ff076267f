"""Parquet, one row a clip, in columns that Hugging Face `datasets` knows: frames are images, labels have names.

Times are seconds. A missing modality is null. `extra` is a JSON object of the manifest's other columns.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pemt_tf.data.record_format import ClipRecord
from pemt_tf.formats.named import SUFFIXES
from pemt_tf.formats.record_files import PARQUET, RecordFiles, RecordShape, RecordSink, facts, file_digest

GROUP_BYTES = 2**24  # of a row group: what a reader of one row has to read, and what the writer keeps in memory
TEXT, WHOLE, SECONDS, FLAG = pa.string(), pa.int64(), pa.float64(), pa.bool_()
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
COLUMNS = (
    ("id", TEXT),
    ("path", TEXT),
    ("start", SECONDS),
    ("end", SECONDS),
    ("label", WHOLE),
    ("labels", pa.list_(TEXT)),
    ("label_indices", pa.list_(WHOLE)),
    ("has_video", FLAG),
    ("has_audio", FLAG),
    ("height", WHOLE),
    ("width", WHOLE),
    ("frames", pa.list_(IMAGE)),
    ("frame_times", pa.list_(SECONDS)),
    ("log_mel", pa.list_(pa.float32())),
    ("extra", TEXT),
)
WAVEFORM = ("waveform", pa.list_(pa.float32()))
_DTYPES = {TEXT: "string", WHOLE: "int64", SECONDS: "float64", FLAG: "bool", pa.float32(): "float32"}


class ParquetFiles(RecordFiles):
    """Parquet files with a column for each field of a clip."""

    name, suffix, keeps_bytes = PARQUET, SUFFIXES[PARQUET], False

    def sink(self, path: Path, name: str, shape: RecordShape) -> RecordSink:
        """Begins a file; see `RecordFiles.sink`."""
        return ParquetSink(path, shape)

    def records(self, path: Path, shape: RecordShape, first: int = 0) -> Iterator[bytes]:
        """The records of a file; see `RecordFiles.records`."""
        if not path.stat().st_size:
            return
        try:
            with pq.ParquetFile(str(path)) as file:
                for group in range(file.num_row_groups):
                    rows = file.metadata.row_group(group).num_rows
                    if first < rows:
                        table = file.read_row_group(group)
                        yield from (shape.record(_clip(table, row, shape)) for row in range(first, rows))
                    first = max(first - rows, 0)
        except (pa.ArrowException, KeyError, TypeError) as error:
            raise ValueError(f"it is not a Parquet file of clips: {' '.join(str(error).split())}") from None


class ParquetSink(RecordSink):
    """Writes a Parquet file, a row group at a time."""

    def __init__(self, path: Path, shape: RecordShape) -> None:
        self._path, self._shape = path, shape
        self._schema = schema(shape)
        # Frames and spectrograms would only take time: they neither repeat nor shrink.
        self._writer = pq.ParquetWriter(str(path), self._schema, compression="NONE", use_dictionary=False)
        self._clips: list[ClipRecord] = []
        self._bytes = 0

    def write(self, record: bytes | memoryview) -> None:
        """Adds a record."""
        clip = self._shape.clip(record)
        if clip.waveform is not None and not self._shape.with_waveform:
            raise ValueError(f"{clip.clip_id} has a waveform, and the data set says that it stores none")
        self._clips.append(clip)
        self._bytes += len(record)
        if self._bytes >= GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        clips, self._clips, self._bytes = self._clips, [], 0
        if clips:
            rows = [_row(clip) for clip in clips]
            columns = [pa.array([row[field.name] for row in rows], field.type) for field in self._schema]
            self._writer.write_table(pa.Table.from_arrays(columns, schema=self._schema))

    def close(self) -> None:
        """Completes the file."""
        if self._writer.is_open:
            try:
                self._flush()
                self._writer.close()
            finally:
                self._writer.is_open = False  # what failed is closed, and says something else a second time

    def digest(self) -> tuple[int, str]:
        """Size and SHA-256 of the file."""
        return file_digest(self._path)


def schema(shape: RecordShape) -> pa.Schema:
    """The columns, with the kinds of Hugging Face `datasets` in the metadata."""
    columns = [*COLUMNS, *([WAVEFORM] if shape.with_waveform else [])]
    kinds = {name: _kind(kind) for name, kind in columns}
    if shape.labels:
        kinds["label"] = {"names": list(shape.labels), "_type": "ClassLabel"}
    features = json.dumps({"info": {"features": kinds}})
    return pa.schema(columns, {"huggingface": features})


def _kind(kind: pa.DataType) -> dict[str, Any]:
    if kind == IMAGE:
        return {"_type": "Image"}
    if pa.types.is_list(kind):
        return {"feature": _kind(kind.value_type), "_type": "Sequence"}
    return {"dtype": _DTYPES[kind], "_type": "Value"}


def _row(clip: ClipRecord) -> dict[str, Any]:
    return {
        **facts(clip),
        "frames": None if clip.jpegs is None else [{"bytes": jpeg, "path": None} for jpeg in clip.jpegs],
        "frame_times": None if clip.jpegs is None else clip.image_times,
        "log_mel": None if clip.log_mel is None else clip.log_mel.ravel(),
        "extra": json.dumps(dict(clip.extra)) if clip.extra else None,
        "waveform": None if clip.waveform is None else clip.waveform.ravel(),
    }


def _clip(table: pa.Table, row: int, shape: RecordShape) -> ClipRecord:
    size = shape.geometry

    def value(name: str) -> Any:
        return table[name][row].as_py()

    def array(name: str, *sides: int) -> np.ndarray | None:
        found = table[name][row]
        return found.values.to_numpy().astype("<f4").reshape(sides) if found.is_valid else None

    frames = value("frames")
    return ClipRecord(
        clip_id=value("id"),
        data_path=value("path"),
        start=value("start"),
        end=value("end"),
        jpegs=None if frames is None else [frame["bytes"] for frame in frames],
        image_times=value("frame_times") or [],
        height=value("height"),
        width=value("width"),
        log_mel=array("log_mel", size.segments, size.mel_bins, size.mel_frames),
        labels=tuple(value("labels")),
        label_indices=tuple(value("label_indices")),
        waveform=array("waveform", size.segments, -1) if "waveform" in table.column_names else None,
        extra=tuple(sorted(json.loads(value("extra") or "{}").items())),
    )

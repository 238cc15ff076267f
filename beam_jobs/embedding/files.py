"""The worker's last part: writes a Parquet file as a whole, and notes what became of each of its clips."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.metrics.metric import Metrics

from beam_jobs.embedding.reading import EmbeddedClip
from beam_jobs.engines import storage
from beam_jobs.worker.outcomes import FAILED, WRITTEN
from pemt_tf.errors import PemtError
from pemt_tf.files.strict_json import json_text
from pemt_tf.search.embedding_store import RECORD_FILES
from pemt_tf.search.embedding_table import ALIGNED, embedding_table

TEXT_COLUMNS = ["path", "label", "split"]


def file_name(shard: int, shards: int) -> str:
    """Name of a Parquet file, relative to the embeddings' folder."""
    return f"vectors/embeddings-{shard:05d}-of-{shards:05d}.parquet"


def outcome_name(shard: int) -> str:
    """Name of a shard's outcomes, relative to the embeddings' folder."""
    return f"outcomes/{shard:05d}.json"


class NoteProgress(beam.DoFn):
    """Passes clips on and, if there is a local folder, notes each in a file that the progress line counts."""

    def __init__(self, folder: str | None) -> None:
        self._folder = folder

    def start_bundle(self) -> None:
        self._log = None
        if self._folder is not None:
            Path(self._folder).mkdir(parents=True, exist_ok=True)
            path = Path(self._folder, f"{uuid.uuid4().hex}.jsonl")
            self._log = path.open("wb", buffering=0)  # unbuffered: read while it grows

    def process(self, element: EmbeddedClip) -> Iterator[tuple[int, EmbeddedClip]]:
        if self._log is not None:
            kind = FAILED if element.vector is None else WRITTEN
            self._log.write(json.dumps({"kind": kind}).encode("ascii") + b"\n")
        yield element.place.shard, element

    def finish_bundle(self) -> None:
        if self._log is not None:
            self._log.close()


class WriteFile(beam.DoFn):
    """(Shard, its clips) -> (kind of outcome, count); writes the Parquet file and the outcomes of the clips."""

    def __init__(self, folder: str, shards: int, record_files: dict[int, str]) -> None:
        """Args: record_files: those of a data set, by the unit's number; empty for videos."""
        self._folder, self._shards, self._record_files = folder, shards, record_files

    def process(self, element: tuple[int, Iterable[EmbeddedClip]]) -> Iterator[tuple[str, int]]:
        shard, results = element
        results = sorted(results, key=lambda result: (result.place.unit, result.place.index))
        try:
            counts = self._write(shard, results)
        except OSError as error:
            raise PemtError(
                f"cannot write {file_name(shard, self._shards)} in {self._folder}: "
                f"{error.strerror or error}; make room there or choose another --output"
            ) from error
        for kind, count in sorted(counts.items()):
            Metrics.counter("embed", f"clips_{kind}").inc(count)
            yield kind, count

    def _write(self, shard: int, results: list[EmbeddedClip]) -> Counter[str]:
        folder, written = self._folder, [one for one in results if one.vector is not None]
        vectors = [one.vector for one in results if one.vector is not None]
        summary = {
            "places": [[one.place.unit, one.place.index] for one in results],
            "rows": len(written),
            "width": len(vectors[0]) // 4 if vectors else 0,
            "aligned": {name: sum(bool(one.about[ALIGNED[name]]) for one in written) for name in _aligned(written)},
            "aligned_size": max((len(place) // 4 for place in _aligned(written).values()), default=0),
            "failed": [_failure(one) for one in results if one.vector is None],
            "sha256": "",
        }
        if written:
            name = file_name(shard, self._shards)
            with storage.whole_file(storage.join(folder, name)) as table_file:
                # The hint of `use_dictionary` lacks the names of columns.
                pq.write_table(self._table(written, vectors), table_file, use_dictionary=TEXT_COLUMNS)  # pyright: ignore[reportArgumentType]
                summary["sha256"] = hashlib.sha256(table_file.read_bytes()).hexdigest()
        with storage.whole_file(storage.join(folder, outcome_name(shard))) as outcome_file:
            outcome_file.write_text(json_text(summary), encoding="ascii")
        return Counter({WRITTEN: len(written), FAILED: len(results) - len(written)})

    def _table(self, written: list[EmbeddedClip], vectors: list[bytes]) -> pa.Table:
        numbers = np.frombuffer(b"".join(vectors), "<f4").reshape(len(written), -1)
        aligned = {
            name: np.frombuffer(b"".join(one.aligned[name] for one in written), "<f4").reshape(len(written), -1)
            for name in _aligned(written)
        }
        table = embedding_table([one.about for one in written], numbers, aligned)
        files = self._record_files
        if not files:
            return table
        rows = Counter(one.place.unit for one in written)  # in the order of the rows
        counted = [[files[unit], count] for unit, count in rows.items()]
        return table.replace_schema_metadata({RECORD_FILES: json.dumps(counted).encode("ascii")})


def _aligned(written: list[EmbeddedClip]) -> dict[str, bytes]:
    """The places in the aligned space of the first clip, by column; all clips have the same columns."""
    return written[0].aligned if written else {}


def _failure(result: EmbeddedClip) -> dict[str, str]:
    about = {"id": result.about["id"], "path": result.about["path"]}
    return {**about, "stage": result.stage, "cause": result.cause, "detail": result.detail}

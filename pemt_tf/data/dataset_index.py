"""Reads `index.parquet`, which `beam_jobs.preprocess` writes beside the records. No TensorFlow is needed here."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pemt_tf.data.record_format import EXTRA_BYTES

if TYPE_CHECKING:
    import pyarrow as pa

INDEX_NAME = "index.parquet"
_COLUMNS = ("file", "bytes", "label", "has_video", "has_audio", "id", "labels")


@dataclass(frozen=True)
class IndexedFile:
    """What the index says of one record file, one row a record."""

    lengths: np.ndarray  # [records] int64, bytes in the file
    labels: np.ndarray  # [records] object, label name or None
    has_video: np.ndarray  # [records] bool
    has_audio: np.ndarray
    ids: np.ndarray  # [records] object
    further_labels: dict[int, list[str]]  # record to its labels after the first, if it has several

    @property
    def bytes(self) -> int:
        """Size that the file must have."""
        return int(self.lengths.sum())


def read_index(directory: Path) -> dict[str, IndexedFile]:
    """Record file, relative to the data set's folder, to its rows; empty where there is no readable index.

    An index that has not changed is read once: a training needs its sizes, then its places.
    """
    path = directory / INDEX_NAME
    try:
        status = path.stat()
    except OSError:
        return {}
    return _read(path, status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=1)
def _read(path: Path, size: int, changed: int) -> dict[str, IndexedFile]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path, columns=list(_COLUMNS))
        names = table["file"].combine_chunks().dictionary_encode()
        columns = [table[name].to_numpy() for name in _COLUMNS[1:-1]]
        several = _several(table["labels"])
    except (OSError, pa.ArrowException, KeyError):
        return {}
    columns[0] = columns[0] + EXTRA_BYTES
    codes = names.indices.to_numpy()
    order = np.argsort(codes, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(codes[order])) + 1) if len(order) else []
    found = {}
    for rows in groups:
        lengths, *others = (column[rows] for column in columns)
        further = {place: several[row] for place, row in enumerate(rows.tolist()) if row in several} if several else {}
        found[names.dictionary[int(codes[rows[0]])].as_py()] = IndexedFile(lengths, *others, further_labels=further)
    return found


def _several(labels: pa.ChunkedArray) -> dict[int, list[str]]:
    """Row to the labels after the first, of the rows that have several; most data sets have none."""
    import pyarrow.compute as pc

    rows = np.flatnonzero(pc.fill_null(pc.list_value_length(labels), 0).to_numpy() > 1)
    return {row: names[1:] for row, names in zip(rows.tolist(), labels.take(rows).to_pylist(), strict=True)}

"""Reads single clips out of record files, made small enough for a report."""

from __future__ import annotations

import itertools
from collections.abc import Collection

from beam_jobs.engines import storage
from beam_jobs.report.index import IndexRow
from beam_jobs.report.record import read_features
from pemt_tf.config import ClipGeometry
from pemt_tf.data.dataset_card import DatasetCard
from pemt_tf.data.record_format import IMAGE, IMAGE_TIMESTAMP, LOG_MEL, SEQUENCE_LOG_MEL, read_records
from pemt_tf.report.clip_views import clip_view, small_view
from pemt_tf.report.contents import ClipView


def read_clips(folder: str, card: DatasetCard, rows: Collection[IndexRow]) -> dict[str, ClipView]:
    """Reads clips, by id. Of each record file only the part up to the last of them is read."""
    views = {}
    unique = {(row.file, row.row): row for row in rows}
    for name, group in itertools.groupby((unique[key] for key in sorted(unique)), key=lambda row: row.file):
        with storage.open_read(storage.join(folder, name)) as file:
            passed = 0
            for row in group:
                record = next(read_records(file, row.row - passed), None)
                passed = row.row + 1
                if record is None:
                    raise ValueError(f"{name} has no record {row.row}")
                views[row.id] = _view(record, row, card.geometry)
    return views


def _view(record: bytes, row: IndexRow, geometry: ClipGeometry) -> ClipView:
    features = read_features(record)
    jpegs, times = features.get(IMAGE, []), features.get(IMAGE_TIMESTAMP, [])
    log_mel = features.get(SEQUENCE_LOG_MEL, features.get(LOG_MEL))
    if log_mel is not None:
        log_mel = log_mel.reshape(geometry.segments, geometry.mel_bins, geometry.mel_frames)
    seconds = [time / 1e6 for time in times]
    return small_view(clip_view(row.id, ", ".join(row.labels), geometry, jpegs, seconds, log_mel))

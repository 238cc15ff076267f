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
from pemt_tf.report.contents import ClipView
from pemt_tf.report.images import small_jpeg, small_spectrogram

# A report may show 48 clips; together with these figures its pictures stay below 2.5 MB.
SEGMENTS_SHOWN = 10
FRAMES_SHOWN = 8  # in all segments together, or one in each
FRAME_SIDE, FRAME_BYTES = 64, 2000
SPECTROGRAM_BINS, SPECTROGRAM_COLUMNS = 40, 240  # columns in all segments together


def read_clips(folder: str, card: DatasetCard, rows: Collection[IndexRow]) -> dict[str, ClipView]:
    """Reads clips, by id. Of each record file only what is needed is read.

    Raises:
        ValueError: a record file is damaged.
    """
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
    segments = _spread(geometry.segments, SEGMENTS_SHOWN)
    jpegs, times = features.get(IMAGE, []), features.get(IMAGE_TIMESTAMP, [])
    log_mel = features.get(SEQUENCE_LOG_MEL, features.get(LOG_MEL))
    if log_mel is not None:
        log_mel = log_mel.reshape(geometry.segments, geometry.mel_bins, geometry.mel_frames)[segments]
        log_mel = small_spectrogram(log_mel, SPECTROGRAM_BINS, SPECTROGRAM_COLUMNS // len(segments))
    firsts = [segment * geometry.frames_per_segment for segment in segments]
    return ClipView(
        clip_id=row.id,
        label=", ".join(row.labels),
        frames=_frames(jpegs, firsts, geometry.frames_per_segment) if jpegs else (),
        log_mel=log_mel,
        segment_starts=tuple(times[first] / 1e6 for first in firsts) if times else (),
    )


def _spread(size: int, most: int) -> list[int]:
    return [place * size // min(size, most) for place in range(min(size, most))]


def _frames(jpegs: list[memoryview], firsts: list[int], frames: int) -> tuple[tuple[bytes, ...], ...]:
    """The pictures to show of each segment, whose first pictures are given."""
    shown = _spread(frames, max(1, FRAMES_SHOWN // len(firsts)))
    return tuple(
        tuple(small_jpeg(bytes(jpegs[first + place]), FRAME_SIDE, FRAME_BYTES) for place in shown) for first in firsts
    )

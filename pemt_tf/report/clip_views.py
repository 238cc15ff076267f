"""From a clip to what a page shows of it: a few frames of each segment, and the spectrogram."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pemt_tf.config import ClipGeometry
from pemt_tf.data.clip_builder import build_clip
from pemt_tf.data.record_format import EXAMPLE, IMAGE_TIMESTAMP, ClipRecord
from pemt_tf.errors import PemtError
from pemt_tf.files.names import readable
from pemt_tf.media.media_errors import MediaError
from pemt_tf.report.contents import ClipView
from pemt_tf.report.images import small_jpeg, small_spectrogram

if TYPE_CHECKING:
    from pemt_tf.data.clip_source import ClipSource

FRAMES_SHOWN = 8  # per clip, spread over its segments; at least one in each
ALL_FRAMES = sys.maxsize
RECORDS_LOOKED_AT = 400  # when a few clips are chosen from a large data set

# A report of a data set may show 48 clips; with these limits its images stay below 2.5 MB.
SEGMENTS_SHOWN = 10
FRAME_SIDE, FRAME_BYTES = 64, 2000
SPECTROGRAM_BINS, SPECTROGRAM_COLUMNS = 40, 240  # columns in all segments together

_SPLIT = "shown"


def clip_view(
    clip_id: str,
    label: str,
    geometry: ClipGeometry,
    jpegs: Sequence[bytes],
    times: Sequence[float],
    log_mel: np.ndarray | None,
    frames: int = FRAMES_SHOWN,
) -> ClipView:
    """The view of a clip.

    Args:
        jpegs: segments x frames JPEGs; empty where there is no video.
        times: time of each JPEG, seconds; empty where unknown.
        log_mel: [segments, mel_bins, mel_frames] float; None where there is no audio.
        frames: how many frames to show, evenly spread; those of a segment begin with its first.
    """
    count = geometry.frames_per_segment
    shown = min(max(1, frames // geometry.segments), count)
    return ClipView(
        clip_id=clip_id,
        label=label,
        frames=tuple(
            tuple(jpegs[first + place * count // shown] for place in range(shown))
            for first in range(0, len(jpegs), count)
        ),
        log_mel=log_mel,
        segment_starts=tuple(float(time) for time in times[::count]),
    )


def small_view(view: ClipView) -> ClipView:
    """A view for a page of many clips: at most `SEGMENTS_SHOWN` segments, small frames, a coarse spectrogram."""
    count = min(view.segments, SEGMENTS_SHOWN)
    chosen = [place * view.segments // count for place in range(count)]
    frames = [view.frames[place] for place in chosen] if view.frames else []
    log_mel = None
    if view.log_mel is not None:
        log_mel = small_spectrogram(view.log_mel[chosen], SPECTROGRAM_BINS, SPECTROGRAM_COLUMNS // count)
    return dataclasses.replace(
        view,
        frames=tuple(tuple(small_jpeg(jpeg, FRAME_SIDE, FRAME_BYTES) for jpeg in segment) for segment in frames),
        log_mel=log_mel,
        segment_starts=tuple(view.segment_starts[place] for place in chosen) if view.segment_starts else (),
    )


def view_of_record(clip: ClipRecord, geometry: ClipGeometry, label: str = "") -> ClipView:
    """The view of a clip in memory."""
    return clip_view(clip.clip_id, label, geometry, clip.jpegs or (), clip.image_times, clip.log_mel)


def view_of_file(path: Path, geometry: ClipGeometry, start: float, end: float) -> ClipView | None:
    """The view of a stretch of a media file, in seconds; None where the file cannot be read any more."""
    from pemt_tf.media.clip_decoder import decode_clip  # FFmpeg's libraries: a job's own report needs none of them

    try:
        decoded = decode_clip(str(path), geometry, start, end)
    except (MediaError, OSError):
        return None
    return view_of_record(build_clip(decoded, geometry, readable(path.name), readable(str(path))), geometry)


def record_views(
    source: ClipSource, files: Iterable[Path | str], clip_ids: Collection[str] | None = None, frames: int = FRAMES_SHOWN
) -> Iterator[ClipView]:
    """Views of clips, in the order of their records; of all clips, or of `clip_ids`. Damage: UnreadableClipsError."""
    import tensorflow as tf

    from pemt_tf.data.input_pipeline import read_batches
    from pemt_tf.data.records import parse

    def read(raw: tf.Tensor) -> dict[str, tf.Tensor]:
        clip = parse(raw, source.geometry, source.payload)
        times = {IMAGE_TIMESTAMP: tf.io.RaggedFeature(tf.int64)}
        # In a SequenceExample the times are lists of their own; the page does without them.
        found = tf.io.parse_single_example(raw, times) if source.payload == EXAMPLE else {}
        return {**clip, "times": found.get(IMAGE_TIMESTAMP, tf.zeros([0], tf.int64))}

    wanted = None if clip_ids is None else set(clip_ids)
    clips = tf.data.TFRecordDataset([str(file) for file in files], source.compression).map(read, tf.data.AUTOTUNE)
    for clip in read_batches(clips.as_numpy_iterator()):
        if wanted is not None and not wanted:
            return
        clip_id = clip["id"].decode("utf-8", "replace")
        if wanted is not None:
            if clip_id not in wanted:
                continue
            wanted.discard(clip_id)
        label = ", ".join(source.labels[number] for number in clip["labels"] if 0 <= number < len(source.labels))
        jpegs, log_mel = clip["jpegs"] if clip["has_video"] else (), clip["log_mel"] if clip["has_audio"] else None
        yield clip_view(clip_id, label, source.geometry, jpegs, clip["times"] / 1e6, log_mel, frames)


def read_clip_views(
    source: ClipSource, files: Iterable[Path | str], count: int = 8, clip_ids: Sequence[str] | None = None
) -> list[ClipView]:
    """Reads clips to show: `count` of as many labels as possible among the first records, or those of `clip_ids`.

    Ids that are not found are left out. A damaged record raises a PemtError that names it.
    """
    from pemt_tf.data.damage import naming_damage

    source = dataclasses.replace(source, files={_SPLIT: tuple(map(str, files))})
    views = record_views(source, source.files[_SPLIT], clip_ids)
    with naming_damage(source, _SPLIT):
        if clip_ids is not None:
            found = {view.clip_id: view for view in views}
            return [found[clip_id] for clip_id in clip_ids if clip_id in found]
        by_label: dict[str, list[ClipView]] = {}
        for _, view in zip(range(RECORDS_LOOKED_AT), views, strict=False):
            by_label.setdefault(view.label, []).append(view)
    # First one clip of each label, then a second one of each.
    ranked = sorted((rank, label) for label, group in by_label.items() for rank in range(len(group)))
    return [by_label[label][rank] for rank, label in ranked[:count]]


def views_of_records(files: Iterable[Path], geometry: ClipGeometry, clip_ids: Sequence[str]) -> dict[str, ClipView]:
    """Views of the clips that are found in record files, by id; none where the files are gone or damaged."""
    from pemt_tf.data.clip_source import ClipSource

    there = [file for file in files if file.is_file()]
    source = ClipSource({}, geometry, (), "records")
    try:
        return {view.clip_id: view for view in record_views(source, there, clip_ids)}
    except PemtError:
        return {}

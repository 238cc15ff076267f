"""Finds what there is to see of found clips: their records, or else their source files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pemt_tf.config import ClipGeometry
from pemt_tf.data.clip_builder import build_clip
from pemt_tf.data.record_format import ClipRecord
from pemt_tf.errors import PemtError
from pemt_tf.files.names import readable
from pemt_tf.media.clip_decoder import decode_clip
from pemt_tf.media.media_errors import MediaError
from pemt_tf.report.contents import ClipView
from pemt_tf.report.sources import FRAMES_PER_STRIP, read_clip_views


def view_of_record(clip: ClipRecord, geometry: ClipGeometry, label: str = "") -> ClipView:
    """The view of a clip in memory."""
    count = geometry.frames_per_segment
    shown = min(max(1, FRAMES_PER_STRIP // geometry.segments), count)
    frames: tuple[tuple[bytes, ...], ...] = ()
    if clip.jpegs is not None:
        starts = range(0, geometry.segments * count, count)
        frames = tuple(tuple(clip.jpegs[start + place * count // shown] for place in range(shown)) for start in starts)
    return ClipView(
        clip_id=clip.clip_id,
        label=label,
        frames=frames,
        log_mel=None if clip.log_mel is None else np.asarray(clip.log_mel),
        segment_starts=tuple(clip.image_times[::count]),
    )


def view_of_file(path: Path, geometry: ClipGeometry, start: float, end: float, label: str = "") -> ClipView | None:
    """The view of a stretch of a media file; None where it cannot be read any more."""
    try:
        decoded = decode_clip(str(path), geometry, start, end)
    except (MediaError, OSError):
        return None
    return view_of_record(build_clip(decoded, geometry, readable(path.name), readable(str(path))), geometry, label)


def views_of_records(files: Sequence[Path], geometry: ClipGeometry, clip_ids: Sequence[str]) -> dict[str, ClipView]:
    """Views of the clips that are found in record files, by id; none where the files are gone or damaged."""
    import tensorflow as tf

    there = [file for file in files if file.is_file()]
    try:
        return {view.clip_id: view for view in read_clip_views(there, geometry, clip_ids=clip_ids)}
    except (tf.errors.OpError, PemtError):
        return {}

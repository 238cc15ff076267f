"""Reads what a report shows from what the other commands leave: records and metrics files."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from pemt_tf.config import ClipGeometry
from pemt_tf.data.record_format import EXAMPLE
from pemt_tf.errors import PemtError
from pemt_tf.report.contents import ClipView, Series

FRAMES_PER_STRIP = 8  # shown per clip, spread over its segments
RECORDS_LOOKED_AT = 400  # when a few clips are to be chosen from a large data set

_SHOWN = "shown"

# Fields of a metrics file that say how the run went on this machine, not how well it learned.
BOOKKEEPING = ("step", "epoch", "time", "timestamp", "second", "seconds", "rate", "eta", "input_wait_share")


def read_metrics(path: Path, leave_out: Iterable[str] = BOOKKEEPING) -> dict[str, Series]:
    """Reads a metrics file: one JSON object a line, `{"step": 10, "loss": 1.5, ...}`.

    A run that was resumed may have written some steps twice: the later line counts. A last line that is cut off, as a
    killed run leaves it, is passed over.

    Args:
        path: of the file.
        leave_out: fields, or last words of fields (`rate` means `learning_rate` too), that are not wanted.

    Returns:
        Each field's series, in the order in which the fields first appear.

    Raises:
        PemtError: there is no such file, or a line is damaged.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise PemtError(f"cannot read the metrics file {path}: {getattr(error, 'strerror', None) or error}") from None
    endings = tuple(leave_out)
    points: dict[str, dict[int, float]] = {}
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            step = int(row["step"])
        except (ValueError, TypeError, KeyError):
            if number == len(lines):
                break
            raise PemtError(f"{path} line {number} is not a JSON object with a step; delete that line") from None
        for name, value in row.items():
            value = math.nan if value is None else value  # null is what was not a number: a gap in the curve
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                continue
            if name in endings or name.endswith(tuple(f"_{ending}" for ending in endings)):
                continue
            points.setdefault(name, {})[step] = float(value)
    series = {name: sorted(values.items()) for name, values in points.items()}
    return {name: Series(*(tuple(part) for part in zip(*values, strict=True))) for name, values in series.items()}


def read_clip_views(
    files: Sequence[Path | str],
    geometry: ClipGeometry,
    labels: Sequence[str] = (),
    count: int = 8,
    clip_ids: Sequence[str] | None = None,
    frames_per_segment: int | None = None,
    payload: str = EXAMPLE,
    compression: str = "",
) -> list[ClipView]:
    """Reads clips to show from record files.

    Args:
        files: TFRecord files of one data set.
        geometry: of the data set.
        labels: its vocabulary.
        count: how many clips; as many different labels as possible among the first records.
        clip_ids: these clips instead, in this order; those that are not found are left out.
        frames_per_segment: frames to show of each segment; chosen so that a strip has about `FRAMES_PER_STRIP`.
        payload, compression: of the files, see `ClipSource`.
    """
    shown = frames_per_segment or max(1, FRAMES_PER_STRIP // geometry.segments)
    shown = min(shown, geometry.frames_per_segment)
    views = _views(files, geometry, labels, shown, clip_ids, payload, compression)
    if clip_ids is not None:
        found = {view.clip_id: view for view in views}
        return [found[clip_id] for clip_id in clip_ids if clip_id in found]
    by_label: dict[str, list[ClipView]] = {}
    for _, view in zip(range(RECORDS_LOOKED_AT), views, strict=False):
        by_label.setdefault(view.label, []).append(view)
    # First one clip of each label, then a second one of each.
    ranked = sorted((rank, label) for label, group in by_label.items() for rank in range(len(group)))
    return [by_label[label][rank] for rank, label in ranked[:count]]


def _views(
    files: Sequence[Path | str],
    geometry: ClipGeometry,
    labels: Sequence[str],
    shown: int,
    clip_ids: Sequence[str] | None,
    payload: str,
    compression: str,
) -> Iterator[ClipView]:
    """Views of the wanted clips, or of all, in the order of the files."""
    import tensorflow as tf

    from pemt_tf.data import records
    from pemt_tf.data.clip_source import ClipSource
    from pemt_tf.data.input_pipeline import read_batches

    wanted = None if clip_ids is None else set(clip_ids)
    times_spec = {records.IMAGE_TIMESTAMP: tf.io.RaggedFeature(tf.int64)}
    source = ClipSource({_SHOWN: tuple(map(str, files))}, geometry, tuple(labels), "records", payload=payload)
    clips = tf.data.TFRecordDataset(list(source.files[_SHOWN]), compression)
    clips = clips.map(lambda raw: (raw, records.parse(raw, geometry, payload)))
    for serialized, clip in read_batches(clips, source, _SHOWN):
        if wanted is not None and not wanted:
            return
        clip_id = clip["id"].numpy().decode("utf-8", "replace")
        if wanted is not None and clip_id not in wanted:
            continue
        if wanted is not None:
            wanted.discard(clip_id)
        # Of a SequenceExample the times are lists of their own; the page does without them.
        example = payload == EXAMPLE
        times = tf.io.parse_single_example(serialized, times_spec)[records.IMAGE_TIMESTAMP].numpy() if example else ()
        label = int(clip["label"])
        yield ClipView(
            clip_id=clip_id,
            label=labels[label] if 0 <= label < len(labels) else "",
            frames=_shown_frames(clip["jpegs"].numpy(), geometry, shown) if bool(clip["has_video"]) else (),
            log_mel=clip["log_mel"].numpy() if bool(clip["has_audio"]) else None,
            segment_starts=tuple(float(time) / 1e6 for time in times[:: geometry.frames_per_segment]),
        )


def _shown_frames(jpegs: np.ndarray, geometry: ClipGeometry, shown: int) -> tuple[tuple[bytes, ...], ...]:
    """Evenly spread frames of each segment; the first frame shown is the segment's first."""
    frames = geometry.frames_per_segment
    picked = [place * frames // shown for place in range(shown)]
    return tuple(tuple(jpegs[segment * frames + place] for place in picked) for segment in range(geometry.segments))

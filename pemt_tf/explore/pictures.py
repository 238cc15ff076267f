"""A small picture of each clip: frames side by side, and below them the spectrogram of the sound over the same time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pemt_tf.config import ClipGeometry
from pemt_tf.data.record_format import EXAMPLE
from pemt_tf.report.colour_map import palette
from pemt_tf.report.contents import ClipView
from pemt_tf.report.images import encoded, middle_square, spectrogram_levels

FRAMES, SIDE = 4, 56  # pictures side by side, pixels of each
WIDTH, SPECTROGRAM_HEIGHT = FRAMES * SIDE, 32
MOST_BYTES = 6_000  # of one picture
USUAL_BYTES = 4_000
BASE64 = 4 / 3
SEED = 1


@dataclass(frozen=True)
class PictureSources:
    """Where pictures can come from; the records are asked first.

    Attributes:
        geometry: of the clips.
        record_files: files with the clips' records.
        payload, compression: of those files, see `ClipSource`.
        media: of some places on the map the media file, and its stretch in seconds.
    """

    geometry: ClipGeometry
    record_files: Sequence[Path] = ()
    payload: str = EXAMPLE
    compression: str = ""
    media: Callable[[int], tuple[Path, float, float] | None] = lambda place: None


def clip_picture(view: ClipView) -> bytes | None:
    """The JPEG of a clip, `WIDTH` pixels wide; None where the clip has neither pictures nor sound."""
    rows = []
    jpegs = [jpeg for segment in view.frames for jpeg in segment]
    if jpegs:
        chosen = [jpegs[place * len(jpegs) // FRAMES] for place in range(FRAMES)]
        rows.append(np.concatenate([_enlarged(middle_square(jpeg, SIDE), SIDE, SIDE) for jpeg in chosen], axis=1))
    if view.log_mel is not None:
        levels = np.concatenate(list(spectrogram_levels(view.log_mel)), axis=1)
        rows.append(palette()[_enlarged(levels, SPECTROGRAM_HEIGHT, WIDTH)])
    return encoded(np.concatenate(rows), MOST_BYTES) if rows else None


def chosen_places(count: int, budget: int) -> list[int]:
    """Places on the map that get a picture: as many as the budget has room for, spread evenly over all.

    Args:
        count: clips.
        budget: bytes that pictures may take in the page.
    """
    room = int(budget / (USUAL_BYTES * BASE64))
    if count <= room:
        return list(range(count))
    return np.random.default_rng(SEED).permutation(count)[:room].tolist()


def make_pictures(
    ids: Sequence[str],
    places: Sequence[int],
    sources: PictureSources,
    budget: int,
    progress: Callable[[int], None] = lambda done: None,
) -> dict[int, bytes]:
    """Pictures of some clips; those that cannot be read have none.

    Args:
        ids: of all clips.
        places: of the clips that are wanted; the last ones are left out if pictures are larger than usual.
        sources: records and media files.
        budget: bytes that pictures may take in the page, as base64.
        progress: is told the number of clips that are done.

    Returns:
        JPEGs by place, in the order of places.
    """
    pictures: dict[int, bytes | None] = {}
    if sources.record_files:
        place_of = {ids[place]: place for place in places}
        for view in _recorded(sources, list(place_of)):
            pictures[place_of[view.clip_id]] = clip_picture(view)
            progress(len(pictures))
    for place in places:
        if place not in pictures:
            pictures[place] = _from_media(sources, place)
            if pictures[place] is not None:
                progress(len(pictures))
    fitting, used = {}, 0.0
    for place in places:
        picture = pictures[place]
        if picture is not None and used + len(picture) * BASE64 <= budget:
            fitting[place] = picture
            used += len(picture) * BASE64
    return dict(sorted(fitting.items()))


def _recorded(sources: PictureSources, ids: list[str]) -> Iterator[ClipView]:
    """Views of clips from their records, until a file is damaged: the clips after that have none."""
    import tensorflow as tf

    from pemt_tf.data.damage import READ_ERRORS
    from pemt_tf.data.records import parse

    geometry, wanted = sources.geometry, set(ids)
    files = tf.data.TFRecordDataset([str(file) for file in sources.record_files], sources.compression)
    clips = files.map(lambda raw: parse(raw, geometry, sources.payload), tf.data.AUTOTUNE)
    per_segment = geometry.frames_per_segment
    try:
        for clip in clips.as_numpy_iterator():
            clip_id = clip["id"].decode("utf-8", "replace")
            if clip_id in wanted:
                wanted.discard(clip_id)
                frames = np.array(clip["jpegs"], object).reshape(geometry.segments, per_segment)
                frames = tuple(map(tuple, frames)) if clip["has_video"] else ()
                yield ClipView(clip_id, frames=frames, log_mel=clip["log_mel"] if clip["has_audio"] else None)
            if not wanted:
                return
    except READ_ERRORS:
        return


def _from_media(sources: PictureSources, place: int) -> bytes | None:
    from pemt_tf.report.gallery_views import view_of_file

    found = sources.media(place)
    view = None if found is None else view_of_file(found[0], sources.geometry, *found[1:])
    return None if view is None else clip_picture(view)


def _enlarged(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Pixels [rows, columns, ...] repeated or left out until there are height x width of them."""
    rows = np.arange(height) * pixels.shape[0] // height
    columns = np.arange(width) * pixels.shape[1] // width
    return pixels[np.ix_(rows, columns)]

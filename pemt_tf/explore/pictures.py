"""A small picture of each clip: frames side by side, and below them the spectrogram of the audio over the same time."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pemt_tf.config import ClipGeometry
from pemt_tf.data.clip_source import ClipSource
from pemt_tf.data.damage import UnreadableClipsError
from pemt_tf.report.clip_views import ALL_FRAMES, record_views, view_of_file
from pemt_tf.report.contents import ClipView
from pemt_tf.report.images import encoded, middle_square, palette, spectrogram_levels

FRAMES, SIDE = 4, 56  # pictures side by side, pixels of each
WIDTH, SPECTROGRAM_HEIGHT = FRAMES * SIDE, 32
MOST_BYTES = 6_000  # of one picture
USUAL_BYTES = 4_000
BASE64 = 4 / 3
SEED = 1


@dataclass(frozen=True)
class PictureSources:
    """Where pictures can come from; the records are asked first.

    `media` gives for a place on the map the media file and the stretch in seconds; None where it has no file.
    """

    geometry: ClipGeometry
    records: ClipSource | None = None  # the data set with the clips' records, if there is one
    media: Callable[[int], tuple[Path, float, float] | None] = lambda place: None


def clip_picture(view: ClipView) -> bytes | None:
    """The JPEG of a clip, `WIDTH` pixels wide; None where the clip has neither frames nor audio."""
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
    """Places on the map that get a picture: spread evenly, as many as fit into `budget` bytes of the page."""
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
    """Pictures of the clips at some places, as JPEGs by place; those that cannot be read have none.

    If pictures are larger than usual, the last places are left out: `budget` is in bytes of the page, as base64.
    `progress` is called with the number of finished clips.
    """
    pictures: dict[int, bytes | None] = {}
    if sources.records is not None:
        place_of = {ids[place]: place for place in places}
        files = [file for split in sources.records.files.values() for file in split]
        # After a damaged record no clip has a picture from the records.
        with contextlib.suppress(UnreadableClipsError):
            for view in record_views(sources.records, files, place_of, ALL_FRAMES):
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


def _from_media(sources: PictureSources, place: int) -> bytes | None:
    found = sources.media(place)
    view = None if found is None else view_of_file(found[0], sources.geometry, *found[1:])
    return None if view is None else clip_picture(view)


def _enlarged(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Pixels [rows, columns, ...] repeated or left out until there are height x width of them."""
    rows = np.arange(height) * pixels.shape[0] // height
    columns = np.arange(width) * pixels.shape[1] // width
    return pixels[np.ix_(rows, columns)]

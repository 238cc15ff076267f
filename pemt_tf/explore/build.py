"""From a folder of embeddings to the page: reading, projection, neighbours, pictures."""

from __future__ import annotations

from pathlib import Path

from pemt_tf.data.clip_source import ClipSource
from pemt_tf.errors import PemtError
from pemt_tf.explore.clip_points import ClipPoints, read_points
from pemt_tf.explore.media_address import media_address, media_file
from pemt_tf.explore.neighbours import nearest_neighbours
from pemt_tf.explore.options import ExploreOptions
from pemt_tf.explore.page_data import Explorer
from pemt_tf.explore.pictures import PictureSources, chosen_places, make_pictures
from pemt_tf.explore.projection import default_projection, project
from pemt_tf.files.names import original
from pemt_tf.report.wording import counted
from pemt_tf.search.embedding_card import RECORDS
from pemt_tf.search.embedding_store import EmbeddingStore
from pemt_tf.terminal.progress import Progress


def build_explorer(directory: str | Path, options: ExploreOptions) -> Explorer:
    """Prepares the page of a folder of embeddings, written by `beam_jobs.embed`."""
    store = EmbeddingStore(directory)
    root = options.media or original(store.card.root)
    records = _records(store, options)  # refuses a wrong --data before the work
    points = read_points(store, options.limit)

    def media(place: int) -> tuple[Path, float, float] | None:
        row = points.about[place]
        file = media_file(root, row["path"])
        return None if file is None else (file, row["start"], row["end"])

    projection = project(points.directions, options.projection or default_projection())
    progress = Progress("neighbours", points.count, "clips")
    neighbours, cosines = nearest_neighbours(points.directions, options.neighbours, progress.update)
    progress.close()
    budget = int(options.picture_megabytes * 1e6)
    places = chosen_places(points.count, budget)
    progress = Progress("pictures", len(places), "clips")
    sources = PictureSources(store.card.geometry, records, media)
    pictures = make_pictures([row["id"] for row in points.about], places, sources, budget, progress.update)
    if pictures:
        progress.close()
    return Explorer(
        title=f"Clips of {Path(directory).name or directory}",
        points=points,
        projection=projection,
        neighbours=neighbours,
        cosines=cosines,
        pictures=pictures,
        media=media_address(root, options.page),
        notes=_notes(points, len(places), len(pictures), options),
    )


def _records(store: EmbeddingStore, options: ExploreOptions) -> ClipSource | None:
    """The data set with the clips' records, if pictures are wanted and it is there."""
    card = store.card
    source = options.data or (card.source if card.source_kind == RECORDS else "")
    if not source or options.picture_megabytes == 0:
        return None
    try:
        clips = ClipSource.open(source)
        clips.require_geometry(card.geometry)
    except PemtError:
        if options.data:
            raise
        return None  # the records have moved; media files may exist
    return clips


def _notes(points: ClipPoints, wanted: int, pictures: int, options: ExploreOptions) -> tuple[str, ...]:
    """Sentences about what the page lacks."""
    notes = []
    if points.count + points.not_finite < points.total:
        shown = counted(points.count + points.not_finite, "clip", "clips")
        notes.append(f"A sample: {shown} of {points.total:,}, drawn evenly. --limit takes more.")
    if points.not_finite:
        left_out = counted(points.not_finite, "clip is", "clips are")
        notes.append(f"{left_out} left out: the embedding holds NaN or infinity.")
    zeros = int((~points.has_direction).sum())
    if zeros:
        words = counted(zeros, "clip has", "clips have")
        notes.append(f"{words} an embedding of zeros only, hence no direction and no neighbours.")
    if options.picture_megabytes == 0:
        notes.append("Made without pictures (--picture-mb 0).")
    elif pictures == 0:
        notes.append("No pictures: neither the records nor the media files can be read here (--data, --media).")
    elif wanted < points.count:
        words = counted(pictures, "clip has", "clips have")
        notes.append(
            f"{words} a picture, spread evenly over all; for more there is no room in "
            f"{options.picture_megabytes:g} MB (--picture-mb)."
        )
    elif pictures < points.count:
        words = counted(points.count - pictures, "clip has", "clips have")
        notes.append(f"{words} no picture: too large, without frames and audio, or not readable here.")
    return tuple(notes)

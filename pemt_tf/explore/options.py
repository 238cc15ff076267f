"""The options of `pemt explore`. Imports nothing heavy, because `--help` reads the defaults."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pemt_tf.errors import PemtError

USUAL_NEIGHBOURS = 12
USUAL_LIMIT = 20_000
USUAL_MEGABYTES = 32.0


@dataclass(frozen=True)
class ExploreOptions:
    """The options of a map.

    Attributes:
        page: file to write.
        data: data set with the clips' records; None for that of the embeddings' card, if it still exists.
        media: folder of the media files; None for that of the card.
        projection: `pca` or `umap`; None for UMAP where it is installed.
        limit: the most clips to show.
        neighbours: number of neighbours of each clip.
        picture_megabytes: the most megabytes for pictures.
    """

    page: Path
    data: str | None = None
    media: str | None = None
    projection: str | None = None
    limit: int = USUAL_LIMIT
    neighbours: int = USUAL_NEIGHBOURS
    picture_megabytes: float = USUAL_MEGABYTES

    def __post_init__(self) -> None:
        for flag, value, least in (
            ("--limit", self.limit, 1),
            ("--neighbours", self.neighbours, 1),
            ("--picture-mb", self.picture_megabytes, 0),
        ):
            if not value >= least:
                raise PemtError(f"{flag} {value} is below {least}")
        if self.media is not None and not Path(self.media).is_dir():
            raise PemtError(f"--media {self.media} is no folder on this machine")

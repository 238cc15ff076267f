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
    """The options of a map."""

    page: Path  # file to write
    data: str | None = None  # data set with the clips' records; None: that of the embeddings' card, if it exists
    media: str | None = None  # folder of the media files; None: the one of the card
    projection: str | None = None  # `pca` or `umap`; None: UMAP where it is installed
    limit: int = USUAL_LIMIT  # the most clips to show
    neighbours: int = USUAL_NEIGHBOURS  # of each clip
    picture_megabytes: float = USUAL_MEGABYTES  # the most, for all pictures

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

"""What the page of a map shows, as plain data."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from pemt_tf.explore.clip_points import ClipPoints
from pemt_tf.explore.projection import Projection


@dataclass(frozen=True, eq=False)
class Explorer:
    """A map of clips.

    Attributes:
        title: the page's title.
        points: the clips.
        projection: their positions.
        neighbours: [clips, k] int32, places of the nearest clips, -1 where there is none.
        cosines: [clips, k] float32, similarities of the neighbours.
        pictures: JPEGs by place.
        media: address of the folder that the clips' paths are relative to; empty where unknown.
        notes: sentences about what is missing and why.
    """

    title: str
    points: ClipPoints
    projection: Projection
    neighbours: np.ndarray
    cosines: np.ndarray
    pictures: dict[int, bytes] = field(default_factory=dict)
    media: str = ""
    notes: tuple[str, ...] = ()

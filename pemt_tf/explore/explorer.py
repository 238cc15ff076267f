"""What the page of a map shows, as plain data."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from pemt_tf.explore.clip_points import ClipPoints
from pemt_tf.explore.projection import Projection


@dataclass(frozen=True, eq=False)
class Explorer:
    """A map of clips."""

    title: str
    points: ClipPoints
    projection: Projection
    neighbours: np.ndarray  # [clips, k] int32, places of the nearest clips, -1 where there is none
    cosines: np.ndarray  # [clips, k] float32
    pictures: dict[int, bytes] = field(default_factory=dict)  # JPEGs by place
    media: str = ""  # address of the folder of the clips' paths; empty where unknown
    notes: tuple[str, ...] = ()  # sentences about what is missing and why

"""What a map shows, and its numbers and texts in the form that the page's scripts read."""

from __future__ import annotations

import base64
import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from pemt_tf.explore.clip_points import ClipPoints
from pemt_tf.explore.label_styles import label_styles
from pemt_tf.explore.projection import Projection

COSINE_SCALE = 32_767  # cosines are stored as int16


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


def clip_data(explorer: Explorer) -> dict[str, Any]:
    """All but the pictures: texts as lists with an entry for each clip, numbers as base64 of little-endian arrays."""
    about = explorer.points.about
    styles, places = label_styles([row["label"] for row in about])
    label_names = sorted({row["label"] for row in about if row["label"]})
    label_places = {label: place for place, label in enumerate(label_names)}
    return {
        "ids": [row["id"] for row in about],
        "paths": [row["path"] for row in about],
        "splits": [row["split"] or "" for row in about],
        "labelNames": label_names,
        "styles": [dataclasses.asdict(style) for style in styles],
        "labels": _base64([label_places.get(row["label"], -1) for row in about], "<i4"),
        "styleOf": _base64(places, "u1"),
        "streams": _base64([row["has_video"] + 2 * row["has_audio"] for row in about], "u1"),
        "times": _base64([(row["start"], row["end"]) for row in about], "<f8"),
        "positions": _base64(explorer.projection.positions, "<f4"),
        "neighbourCount": explorer.neighbours.shape[1],
        "neighbours": _base64(explorer.neighbours, "<i4"),
        "cosines": _base64(np.round(explorer.cosines.astype(np.float64) * COSINE_SCALE), "<i2"),
        "media": explorer.media,
    }


def picture_data(explorer: Explorer) -> dict[str, Any]:
    """Places of the clips that have a picture, and the JPEGs."""
    jpegs = [base64.b64encode(jpeg).decode("ascii") for jpeg in explorer.pictures.values()]
    return {"places": list(explorer.pictures), "jpegs": jpegs}


def script_json(values: dict[str, Any]) -> Markup:
    """JSON for a script element: nothing in it can close the element or open a comment."""
    text = json.dumps(values, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _base64(values: npt.ArrayLike, kind: str) -> str:
    return base64.b64encode(np.ascontiguousarray(values, kind).tobytes()).decode("ascii")

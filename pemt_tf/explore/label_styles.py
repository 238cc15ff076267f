"""How labels look on the map: each has a colour and a shape that colour-blind people can tell apart.

Seven colours come in three shapes, rare labels share one look. Every two colours stay apart (a CIELAB distance of 30)
for full sight and for each kind of colour blindness, and each stands out from its ground (a contrast of 3). Tests
check both.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

LIGHT = ("#2f3381", "#ce7e00", "#00a875", "#8b0f00", "#8c79ff", "#b17cbb", "#593140")
DARK = ("#57bcff", "#d25c00", "#b2df7a", "#fb93ad", "#e5d30f", "#716497", "#0a794f")
REST = ("#767c85", "#8a919b")  # other labels and clips without one, on light and on dark ground
SHAPES = ("circle", "triangle", "square")
OTHER, NO_LABEL = "other", "no label"


@dataclass(frozen=True)
class LabelStyle:
    """One entry of the legend: its name, how many clips it has, its colours on light and dark ground, its shape."""

    name: str
    clips: int
    light: str
    dark: str
    shape: str
    is_label: bool = True


def label_styles(labels: list[str | None]) -> tuple[list[LabelStyle], list[int]]:
    """The legend, and the entry of every clip, from the clips' labels.

    Labels come by their number of clips, at most one for each colour and shape; then an entry for the other labels, and
    one for the clips without a label, where there are such.
    """
    counts = Counter(label for label in labels if label)
    looks = [(light, dark, shape) for shape in SHAPES for light, dark in zip(LIGHT, DARK, strict=True)]
    ranked = sorted(counts, key=lambda label: (-counts[label], label))
    own = ranked[: len(looks)]
    styles = [LabelStyle(label, counts[label], *look) for label, look in zip(own, looks, strict=False)]
    places: dict[str | None, int] = {label: place for place, label in enumerate(own)}
    rest = ranked[len(looks) :]
    if rest:
        places |= dict.fromkeys(rest, len(styles))
        name = f"{OTHER} ({len(rest):,})"
        styles.append(LabelStyle(name, sum(counts[label] for label in rest), *REST, "diamond", is_label=False))
    bare = len(labels) - counts.total()
    if bare:
        places |= {None: len(styles), "": len(styles)}
        styles.append(LabelStyle(NO_LABEL, bare, *REST, "ring", is_label=False))
    return styles, [places[label] for label in labels]

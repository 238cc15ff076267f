"""What a data set's report shows of its clips: histograms, a contact sheet, flagged clips, near-duplicates."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from beam_jobs.finish.duplicates import DuplicatePair
from beam_jobs.report.index import Histogram, IndexFacts, IndexRow
from beam_jobs.report.listings import DUPLICATES, Pairs
from pemt_tf.data.dataset_card import DatasetCard
from pemt_tf.report.charts import Panel, histogram
from pemt_tf.report.contents import ClipView
from pemt_tf.report.wording import counted, percent

NOTES_SHOWN = 2  # below a clip


@dataclass(frozen=True)
class ClipCard:
    """A clip with its source, its length and what is unusual about it."""

    row: IndexRow
    view: ClipView
    with_split: bool = False

    @property
    def flags(self) -> list[str]:
        """`silent`, `frozen`, both or none."""
        return [flag for flag in ("silent", "frozen") if getattr(self.row, flag)]

    @property
    def details(self) -> str:
        """Split, length and place in the file."""
        row = self.row
        where = f"{row.start:.1f} to {row.end:.1f} s" if row.start >= 0.05 else ""
        path = f"of {row.path}" if not row.id.startswith(row.path) else ""
        parts = (row.split if self.with_split else "", f"{row.end - row.start:.1f} s", f"{where} {path}".strip())
        return " · ".join(filter(None, parts))

    @property
    def notes(self) -> str:
        """The first notes of the job on this clip."""
        return "; ".join(self.row.notes[:NOTES_SHOWN]) + (" …" if len(self.row.notes) > NOTES_SHOWN else "")


def histogram_panel(item: Histogram) -> Panel:
    """How one quantity is spread over the clips."""
    quantity, title = item.quantity, f"{item.quantity.title}, {item.quantity.unit}"
    missing = f"{counted(item.missing, 'clip', 'clips')} {quantity.missing}" if item.missing else ""
    if not item.clips:
        return Panel(title, None, note=f"{missing}.")
    low, high = _figure(item.low), _figure(item.high)
    reach = f"all {low}" if low == high else f"{low} to {high}, mean {_figure(item.total / item.clips)}"
    fullest = int(np.argmax(item.counts))
    description = (
        f"{quantity.title} of {counted(item.clips, 'clip', 'clips')}: {reach} {quantity.unit}; most "
        f"({item.counts[fullest]:,}) from {item.edges[fullest]:g} to {item.edges[fullest + 1]:g}"
    )
    note = " ".join(part for part in (quantity.note, f"{missing}: not drawn." if missing else "") if part)
    return Panel(title, histogram(item.edges, item.counts.tolist(), quantity.unit, description), reach, note)


def contact_sheet(card: DatasetCard, facts: IndexFacts, views: dict[str, ClipView]) -> dict[str, Any]:
    """Some clips of every split and label."""
    by_split: dict[str, list[ClipCard]] = {}
    for row in facts.samples:
        by_split.setdefault(row.split, []).append(ClipCard(row, views[row.id]))
    return {"splits": by_split, "shown": len(facts.samples), "clips": card.clips} if by_split else {}


def flagged_clips(card: DatasetCard, facts: IndexFacts, views: dict[str, ClipView]) -> dict[str, Any]:
    """Clips in which nothing can be heard or nothing moves."""
    cards = [ClipCard(row, views[row.id]) for row in facts.flagged]
    return {"cards": cards, "silent": card.silent, "frozen": card.frozen} if cards else {}


def duplicates(
    pairs: Pairs, shown: Iterable[DuplicatePair], rows: dict[str, IndexRow], views: dict[str, ClipView]
) -> dict[str, Any]:
    """Pairs of near-duplicate clips, side by side."""
    if not pairs.count:
        return {}
    cards = [
        (pair.what, _distance(pair), [ClipCard(rows[name], views[name], True) for name in (pair.first, pair.second)])
        for pair in shown
    ]
    dropped = any(name not in rows for pair in pairs.first for name in (pair.first, pair.second))
    return {"count": pairs.count, "pairs": cards, "dropped": dropped, "file": DUPLICATES}


def shown_pairs(pairs: Pairs, rows: Collection[str], most: int = 8) -> list[DuplicatePair]:
    """The first pairs of which both clips are in the data set."""
    return [pair for pair in pairs.first if pair.first in rows and pair.second in rows][:most]


def _distance(pair: DuplicatePair) -> str:
    distances = (("frames", pair.video_distance), ("audio", pair.audio_distance))
    differing = " and ".join(
        f"{percent(value, 1)} of the bits of the {name}" for name, value in distances if value is not None
    )
    return f"{'Across splits' if pair.is_across else f'Both in {pair.first_split}'}; {differing} differ."


def _figure(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"

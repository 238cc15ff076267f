"""Sections of a data set's report that are drawn: histograms, contact sheets, flagged clips, duplicates."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from beam_jobs.finish.duplicates import DuplicatePair
from beam_jobs.report.index import Histogram, IndexRow
from beam_jobs.report.listings import DUPLICATES, Pairs
from pemt_tf.report.charts import histogram as histogram_chart
from pemt_tf.report.clip_sections import clip_card
from pemt_tf.report.contents import ClipView
from pemt_tf.report.markup import Markup, element
from pemt_tf.report.wording import counted, percent

NOTES_SHOWN = 2  # below a clip


def histograms(items: list[Histogram]) -> Markup:
    """How the clips are spread over length, rate, size, loudness and so on."""
    note = "Over all clips; a column includes its lower border. Point at one to see its range and count."
    return element(
        "div", element("p", note, class_="note"), element("div", [_panel(item) for item in items], class_="panels")
    )


def _panel(item: Histogram) -> Markup:
    quantity = item.quantity
    missing = f"{counted(item.missing, 'clip', 'clips')} {quantity.missing}" if item.missing else ""
    if not item.clips:
        title = element("figcaption", element("span", f"{quantity.title}, {quantity.unit}"))
        return element("figure", title, element("p", f"{missing}.", class_="empty"), class_="panel")
    low, high = _figure(item.low), _figure(item.high)
    reach = f"all {low}" if low == high else f"{low} to {high}, mean {_figure(item.total / item.clips)}"
    fullest = int(np.argmax(item.counts))
    description = (
        f"{quantity.title} of {counted(item.clips, 'clip', 'clips')}: {reach} {quantity.unit}; most "
        f"({item.counts[fullest]:,}) from {item.edges[fullest]:g} to {item.edges[fullest + 1]:g}"
    )
    words = " ".join(part for part in (quantity.note, f"{missing}: not drawn." if missing else "") if part)
    return element(
        "figure",
        element("figcaption", element("span", f"{quantity.title}, {quantity.unit}"), element("b", reach)),
        histogram_chart(item.edges, tuple(item.counts.tolist()), quantity.unit, description),
        element("p", words, class_="note") if words else None,
        class_="panel",
    )


def _figure(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def contact_sheet(rows: list[IndexRow], views: dict[str, ClipView], clips: int) -> Markup:
    """Some clips of every split and label."""
    introduction = (
        f"{len(rows)} of {counted(clips, 'clip', 'clips')}, spread over splits and labels. Each as its record has it: "
        "short segments with frames (here small, and cut to a square) and, below them over the same stretch of time, "
        "the log-mel spectrogram of the sound (low tones at the bottom, bright is loud; each clip on its own scale). "
        "The time below a segment is its beginning in the file."
    )
    by_split: dict[str, list[IndexRow]] = {}
    for row in rows:
        by_split.setdefault(row.split, []).append(row)
    groups = [element("h3", split) + _grid(some, views) for split, some in by_split.items()]
    return element("div", element("p", introduction), [Markup(group) for group in groups])


def flagged(rows: list[IndexRow], views: dict[str, ClipView], silent: int, frozen: int) -> Markup:
    """Clips of which nothing can be heard or nothing moves."""
    introduction = (
        f"{counted(silent, 'clip has', 'clips have')} sound in which there is nothing but silence, "
        f"{counted(frozen, 'clip has', 'clips have')} pictures that do not change. {len(rows)} of them are shown; "
        "the columns silent and frozen of index.parquet have all. "
    )
    flags = [
        element("code", "--on_silent=skip", class_="nowrap"),
        " and ",
        element("code", "--on_frozen=skip", class_="nowrap"),
    ]
    return element("div", element("p", introduction, flags, " leave them out."), _grid(rows, views))


def _grid(rows: list[IndexRow], views: dict[str, ClipView]) -> Markup:
    return element("div", [card(row, views[row.id]) for row in rows], class_="clip-grid")


def card(row: IndexRow, view: ClipView, *, with_split: bool = False) -> Markup:
    """A clip with where it is from, its length and what is odd about it."""
    length = f"{row.end - row.start:.1f} s"
    where = f"{row.start:.1f} to {row.end:.1f} s" if row.start >= 0.05 else ""
    path = f"of {row.path}" if not row.id.startswith(row.path) else ""
    details = " · ".join(part for part in (row.split if with_split else "", length, f"{where} {path}".strip()) if part)
    flags = [element("span", flag, class_="flag") for flag in ("silent", "frozen") if getattr(row, flag)]
    notes = "; ".join(row.notes[:NOTES_SHOWN]) + (" …" if len(row.notes) > NOTES_SHOWN else "")
    return clip_card(
        view,
        flags,
        element("span", details, class_="clip-detail"),
        notes and element("span", notes, class_="clip-detail"),
    )


def duplicates(
    pairs: Pairs, shown: list[DuplicatePair], rows: dict[str, IndexRow], views: dict[str, ClipView]
) -> Markup:
    """Pairs of nearly equal clips, side by side."""
    words = (
        f"{counted(pairs.count, 'pair', 'pairs')} of clips from different groups look or sound nearly the same: few "
        "bits of their perceptual hashes differ (unrelated clips differ in half of them). Pairs across splits come "
        "first: testing on what was trained on flatters the result. All are in "
    )
    dropped = None
    if any(pair.first not in rows or pair.second not in rows for pair in pairs.first):
        dropped = element(
            "p", "Of some pairs one clip was left out as a duplicate; these are not shown.", class_="note"
        )
    hint = element(
        "p",
        element("code", "--drop_duplicates=across"),
        " leaves such clips out of the split nearer to training.",
        class_="note",
    )
    return element(
        "div",
        element("p", words, element("code", DUPLICATES), "."),
        dropped if dropped else hint,
        [_pair(pair, rows, views) for pair in shown],
    )


def _pair(pair: DuplicatePair, rows: dict[str, IndexRow], views: dict[str, ClipView]) -> Markup:
    distances = (("pictures", pair.video_distance), ("sound", pair.audio_distance))
    differing = " and ".join(
        f"{percent(value, 1)} of the bits of the {name}" for name, value in distances if value is not None
    )
    where = "Across splits" if pair.is_across else f"Both in {pair.first_split}"
    heading = element("p", element("strong", f"Same {pair.what}. "), f"{where}; {differing} differ.")
    cards = [card(rows[name], views[name], with_split=True) for name in (pair.first, pair.second)]
    return element("div", heading, cards, class_="clip-pair")


def shown_pairs(pairs: Pairs, rows: Collection[str], most: int = 8) -> list[DuplicatePair]:
    """The first pairs of which both clips are in the data set."""
    return [pair for pair in pairs.first if pair.first in rows and pair.second in rows][:most]

"""Sections of a data set's report that are tables: splits, labels, failures, where it came from."""

from __future__ import annotations

from collections import Counter

from beam_jobs.report.listings import NOTES, Listing
from pemt_tf.data.dataset_card import DatasetCard
from pemt_tf.media.media_errors import CAUSES
from pemt_tf.report.contents import Outcome, Preprocessing
from pemt_tf.report.markup import Markup, element
from pemt_tf.report.result_sections import preprocessing
from pemt_tf.report.wording import counted, duration

MOST_LABELS = 40  # of more, only the most frequent and the rarest are shown
OPEN_UP_TO = 12  # rows of a list that are shown without being asked for
NOTES_SHOWN = 50


def table(
    caption: str, head: list[str], rows: list[list[object]], numbers: tuple[int, ...] = (), *, hidden: bool = False
) -> Markup:
    """A table; the first column names the rows.

    Args:
        caption: what it is about.
        head: names of the columns.
        rows: cells.
        numbers: columns that hold numbers.
        hidden: the caption is for those who cannot see that a heading says the same.
    """
    kinds = ["number" if column in numbers else None for column in range(len(head))]
    titles = [element("th", name, scope="col", class_=kind) for name, kind in zip(head, kinds, strict=True)]
    body = []
    for first, *rest in rows:
        cells = [element("td", cell, class_=kind) for cell, kind in zip(rest, kinds[1:], strict=True)]
        body.append(element("tr", element("th", first, scope="row"), cells))
    named = element("caption", caption, class_="visually-hidden" if hidden else None)
    parts = [named, element("thead", element("tr", titles)), element("tbody", body)]
    return element("div", element("table", parts, class_="plain"), class_="scroll")


def splits(card: DatasetCard, size: Counter) -> Markup:
    """What each split holds."""
    rows = []
    for name, split in card.splits.items():
        labelled = split.clips - split.unlabelled
        counts = (len(split.files), split.clips, labelled, len(split.labels), split.with_video, split.with_audio)
        rows.append([name, *(f"{count:,}" for count in counts), duration(split.seconds), megabytes(size[name])])
    head = ["Split", "Files", "Clips", "Labelled", "Labels", "With pictures", "With sound", "Length", "Size"]
    return table("Clips by split", head, rows, tuple(range(1, len(head))), hidden=True)


def megabytes(size: int) -> str:
    """`0.037 MB`, `0.4 MB`, `1,200 MB`."""
    value = size / 1e6
    return f"{value:,.0f} MB" if value >= 100 else f"{value:.2g} MB" if value < 10 else f"{value:.1f} MB"


def label_totals(card: DatasetCard) -> dict[str, int]:
    """Clips of each label of the vocabulary, in all splits."""
    return {label: sum(split.labels.get(label, 0) for split in card.splits.values()) for label in card.labels}


def balance(card: DatasetCard) -> Markup | None:
    """How many clips each label has, by split."""
    totals = label_totals(card)
    if not totals:
        return None
    ranked = sorted(totals, key=lambda label: (-totals[label], label))
    most, fewest = totals[ranked[0]], totals[ranked[-1]]
    labelled = sum(split.clips - split.unlabelled for split in card.splits.values())
    summary = (
        f"{counted(len(ranked), 'label', 'labels')} on {counted(labelled, 'clip', 'clips')}; "
        f"{card.clips - labelled:,} without a label. The most frequent has {most:,}, the rarest {fewest:,}."
    )
    several = "Clips with several labels count for each." if sum(totals.values()) > labelled else None
    shown = ranked
    if len(ranked) > MOST_LABELS:
        shown = ranked[: MOST_LABELS // 2] + ranked[-MOST_LABELS // 2 :]
        summary += f" Below: the {MOST_LABELS // 2} with the most and the {MOST_LABELS // 2} with the fewest clips."
    rows = []
    for label in shown:
        bar = element("span", class_="bar", style=f"--share:{totals[label] / max(most, 1):.4f}")
        parts = [f"{split.labels.get(label, 0):,}" for split in card.splits.values()]
        rows.append([label, bar, f"{totals[label]:,}", *parts])
    head = ["Label", "", "Clips", *card.splits]
    columns = table("Clips by label", head, rows, tuple(range(2, len(head))), hidden=True)
    return element("div", element("p", summary), element("p", several) if several else None, columns)


def inputs(card: DatasetCard, failures: Listing, filtered: Listing, notes: Listing) -> Markup:
    """What became of every input, why some did not become clips, and what is odd about others."""
    outcomes = [
        Outcome(kind, cause, count, tuple(listing.examples.get(cause, ())))
        for kind, causes, listing in (("filtered", card.filtered, filtered), ("failed", card.failed, failures))
        for cause, count in sorted(causes.items(), key=lambda item: (-item[1], item[0]))
    ]
    left_out = None
    if card.left_out:
        rows = [[cause, f"{count:,}"] for cause, count in sorted(card.left_out.items())]
        left_out = table("Windows of written inputs of which no clip was made", ["Cause", "Windows"], rows, (1,))
    known = [cause for cause in dict.fromkeys([*card.failed, *card.left_out]) if cause in CAUSES]
    meanings = [element("p", element("code", cause), f": {CAUSES[cause]}.", class_="note") for cause in known]
    return element(
        "div",
        preprocessing(Preprocessing(card.inputs, card.written, tuple(outcomes))),
        left_out,
        element("div", meanings, class_="meanings"),
        _listed("Failures", failures, [(_where(one), one["cause"], one["detail"]) for one in failures.first]),
        _listed("Filtered", filtered, [(_where(one), one["cause"], one["detail"]) for one in filtered.first]),
        _notes(notes),
    )


def _where(one: dict) -> str:
    return f"{one['path']} ({one['start']:g} to {one['end']:g} s)" if "start" in one else one["path"]


def _notes(notes: Listing) -> Markup | None:
    rows = [(one["id"], "note", "; ".join(one["notes"])) for one in notes.first[:NOTES_SHOWN]]
    return _listed("Notes on clips that were written", notes, rows)


def _listed(title: str, listing: Listing, rows: list[tuple[str, str, str]]) -> Markup | None:
    """The first lines of a list, folded away where they are many."""
    if not listing.lines:
        return None
    heading = f"{title}: {listing.lines:,}"
    more = listing.lines - len(rows)
    rest = f"The first {len(rows):,}; {more:,} more are in " if more else "All of them are also in "
    is_note = listing.name == NOTES
    head = ["Clip", "Note"] if is_note else ["File", "Cause", "Detail"]
    cells = [[one[0], one[2]] if is_note else list(one) for one in rows]
    where = element("p", rest, element("code", listing.name), ".", class_="note")
    return element(
        "details",
        element("summary", heading),
        table(title, head, cells, hidden=True),
        where,
        open=len(rows) <= OPEN_UP_TO,
    )


def properties(counts: dict[str, Counter], clips: int, shown: int = 8) -> Markup:
    """The most frequent properties of the files that clips are from, one small table each."""
    panels = []
    for title, counter in counts.items():
        if not counter:
            continue
        ranked = sorted(counter.items(), key=lambda item: (-item[1], item[0]))
        top = ranked[:shown]
        rest = sum(count for _, count in ranked[shown:])
        if rest:
            top.append((f"{len(ranked) - shown:,} more", rest))
        rows = []
        for name, count in top:
            bar = element("td", element("span", class_="bar", style=f"--share:{count / clips:.4f}"), class_="bar-cell")
            number = element("td", f"{count:,}", class_="number")
            rows.append(element("tr", element("th", name, scope="row"), bar, number))
        panels.append(element("table", element("caption", f"{title}, clips"), element("tbody", rows), class_="scores"))
    return element("div", panels, class_="panels")


def speed(figures: dict[str, float]) -> Markup:
    """How long it took."""
    wording = {
        "seconds": ("Time", duration),
        "workers": ("Workers", lambda value: f"{value:g}"),
        "core_seconds": ("Time of all cores together", duration),
        "video_seconds": ("Length of the clips", duration),
        "clips_per_second": ("Clips per second", lambda value: f"{value:,.3g}"),
        "clips_per_core_second": ("Clips per second of one core", lambda value: f"{value:,.3g}"),
    }
    rows = [[name, word(figures[key])] for key, (name, word) in wording.items() if figures.get(key) is not None]
    if figures.get("core_seconds") and figures.get("video_seconds"):
        share = 1000 * figures["core_seconds"] / figures["video_seconds"]
        rows.append(["Core time per second of clip", f"{share:,.3g} ms"])
    return table("Speed of the job that wrote this data set", ["Figure", "Value"], rows, hidden=True)


def origin(card: DatasetCard) -> Markup:
    """The command and the settings."""
    geometry = card.geometry
    plan = ", ".join(f"{name} {value}" for name, value in card.plan.items() if name != "kind")
    rows = [
        ["Source", card.source],
        ["Preset", card.preset],
        ["Clips", f"{card.plan.get('kind', '')}{f' ({plan})' if plan else ''}"],
        ["Segments in a clip", f"{geometry.segments} of {geometry.segment_seconds:.3g} s"],
        ["Pictures in a segment", f"{geometry.frames_per_segment} at {geometry.frame_rate:g} a second"],
        ["Shorter side of a picture", f"{geometry.stored_short_side} pixels"],
        [
            "Sound",
            f"{geometry.sample_rate:,} Hz, {geometry.mel_bins} mel bins × {geometry.mel_frames} frames a segment",
        ],
        ["Form of the records", card.payload],
        ["Hash of the settings and inputs", element("code", card.configuration_hash)],
        ["Hash of the records", element("code", card.content_hash)],
    ]
    command = element("ol", element("li", element("pre", element("code", card.command))), class_="commands")
    return element("div", command if card.command else None, table("Settings", ["Setting", "Value"], rows, hidden=True))

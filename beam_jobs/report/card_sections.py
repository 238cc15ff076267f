"""What a data set's report shows of its card: outcomes, splits, labels, source files, speed, settings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from beam_jobs.report.listings import ErrorList
from pemt_tf.data.dataset_card import DatasetCard
from pemt_tf.media.media_errors import CAUSES
from pemt_tf.report.contents import CommandRun, OutcomeCount, Preprocessing
from pemt_tf.report.tables import Bar, Cell, Code, Number, Table
from pemt_tf.report.wording import counted, duration

MOST_LABELS = 40  # of more, only the most frequent and the rarest are shown
OPEN_UP_TO = 12  # rows of a list that are shown without a click
NOTES_SHOWN = 50
PROPERTIES_SHOWN = 8


@dataclass(frozen=True)
class FoldedList:
    """The first lines of a file under errors/, and how many more it has."""

    title: str
    lines: int
    file: str
    table: Table

    @property
    def more(self) -> int:
        """Lines that are not shown."""
        return self.lines - len(self.table.rows)

    @property
    def is_open(self) -> bool:
        """Whether the lines are shown without a click."""
        return len(self.table.rows) <= OPEN_UP_TO


def inputs(card: DatasetCard, failures: ErrorList, filtered: ErrorList, notes: ErrorList) -> dict[str, Any]:
    """The outcome of every input, why some did not become clips, and what is unusual about others."""
    outcomes = [
        OutcomeCount(kind, cause, count, tuple(listing.examples.get(cause, ())))
        for kind, causes, listing in (("filtered", card.filtered, filtered), ("failed", card.failed, failures))
        for cause, count in sorted(causes.items(), key=lambda item: (-item[1], item[0]))
    ]
    windows = [(cause, f"{count:,}") for cause, count in sorted(card.left_out.items())]
    columns = ("Cause", Number("Windows"))
    lists = []
    for title, listing in (("Failures", failures), ("Filtered", filtered)):
        rows = [(_place(one), one["cause"], one["detail"]) for one in listing.first]
        lists.append(_folded(title, listing, ("File", "Cause", "Detail"), rows))
    rows = [(one["id"], "; ".join(one["notes"])) for one in notes.first[:NOTES_SHOWN]]
    lists.append(_folded("Notes on clips that were written", notes, ("Clip", "Note"), rows))
    return {
        "outcomes": Preprocessing(card.inputs, card.written, tuple(outcomes)),
        "windows": Table("Windows of written inputs that did not become clips", columns, windows),
        "meanings": {cause: CAUSES[cause] for cause in (*card.failed, *card.left_out) if cause in CAUSES},
        "lists": [one for one in lists if one.lines],
    }


def split_table(card: DatasetCard, size: Counter) -> Table:
    """What each split holds."""
    rows = []
    for name, split in card.splits.items():
        labelled = split.clips - split.unlabelled
        counts = (len(split.files), split.clips, labelled, len(split.labels), split.with_video, split.with_audio)
        rows.append((name, *(f"{count:,}" for count in counts), duration(split.seconds), _megabytes(size[name])))
    titles = ("Files", "Clips", "Labelled", "Labels", "With frames", "With audio", "Length", "Size")
    return Table("Clips by split", ("Split", *map(Number, titles)), rows, hidden=True)


def label_totals(card: DatasetCard) -> dict[str, int]:
    """Clips of each label of the vocabulary, in all splits."""
    return {label: sum(split.labels.get(label, 0) for split in card.splits.values()) for label in card.labels}


def balance(card: DatasetCard) -> dict[str, Any]:
    """How many clips each label has, by split."""
    totals = label_totals(card)
    if not totals:
        return {}
    ranked = sorted(totals, key=lambda label: (-totals[label], label))
    most, fewest = totals[ranked[0]], totals[ranked[-1]]
    labelled = sum(split.clips - split.unlabelled for split in card.splits.values())
    summary = (
        f"{counted(len(ranked), 'label', 'labels')} on {counted(labelled, 'clip', 'clips')}; "
        f"{card.clips - labelled:,} without a label. The most frequent has {most:,}, the rarest {fewest:,}."
    )
    several = "Clips with several labels count for each." if sum(totals.values()) > labelled else ""
    half = MOST_LABELS // 2
    shown = ranked
    if len(ranked) > MOST_LABELS:
        shown = ranked[:half] + ranked[-half:]
        summary += f" Below: the {half} with the most and the {half} with the fewest clips."
    rows = []
    for label in shown:
        parts = [f"{split.labels.get(label, 0):,}" for split in card.splits.values()]
        rows.append((label, Bar(totals[label] / max(most, 1)), f"{totals[label]:,}", *parts))
    columns = ("Label", "", Number("Clips"), *map(Number, card.splits))
    return {"texts": filter(None, (summary, several)), "table": Table("Clips by label", columns, rows, hidden=True)}


def source_properties(counts: dict[str, Counter], clips: int) -> list[tuple[str, list[tuple[str, Bar, str]]]]:
    """The most frequent properties of the clips' source files: the title of a small table, and its rows."""
    panels = []
    for title, counter in counts.items():
        ranked = sorted(counter.items(), key=lambda item: (-item[1], item[0]))
        top, rest = ranked[:PROPERTIES_SHOWN], ranked[PROPERTIES_SHOWN:]
        if rest:
            top.append((f"{len(rest):,} more", sum(count for _, count in rest)))
        if top:
            panels.append((f"{title}, clips", [(name, Bar(count / clips), f"{count:,}") for name, count in top]))
    return panels


def speed_table(figures: dict[str, float]) -> Table:
    """How long the job took."""
    wording = {
        "seconds": ("Time", duration),
        "workers": ("Workers", "{:g}".format),
        "core_seconds": ("Time of all cores together", duration),
        "video_seconds": ("Length of the clips", duration),
        "clips_per_second": ("Clips per second", "{:,.3g}".format),
        "clips_per_core_second": ("Clips per second of one core", "{:,.3g}".format),
    }
    rows = [(name, word(figures[key])) for key, (name, word) in wording.items() if figures.get(key) is not None]
    if figures.get("core_seconds") and figures.get("video_seconds"):
        share = 1000 * figures["core_seconds"] / figures["video_seconds"]
        rows.append(("Core time per second of clip", f"{share:,.3g} ms"))
    return Table("Speed of the job that wrote this data set", ("Figure", "Value"), rows, hidden=True)


def origin(card: DatasetCard) -> dict[str, Any]:
    """The command and the settings."""
    geometry = card.geometry
    plan = ", ".join(f"{name} {value}" for name, value in card.plan.items() if name != "kind")
    rows: list[tuple[str, Cell]] = [
        ("Source", card.source),
        ("Preset", card.preset),
        ("Clips", f"{card.plan.get('kind', '')}{f' ({plan})' if plan else ''}"),
        ("Segments in a clip", f"{geometry.segments} of {geometry.segment_seconds:.3g} s"),
        ("Frames in a segment", f"{geometry.frames_per_segment} at {geometry.frame_rate:g} per second"),
        ("Shorter side of a frame", f"{geometry.stored_short_side} pixels"),
        (
            "Audio",
            f"{geometry.sample_rate:,} Hz, {geometry.mel_bins} mel bins × {geometry.mel_frames} time steps per segment",
        ),
        ("Form of the records", card.payload),
        ("Hash of the settings and inputs", Code(card.configuration_hash)),
        ("Hash of the records", Code(card.content_hash)),
    ]
    runs = [CommandRun(card.command)] if card.command else []
    return {"runs": runs, "table": Table("Settings", ("Setting", "Value"), rows, hidden=True)}


def _megabytes(size: int) -> str:
    """`0.037 MB`, `0.4 MB`, `1,200 MB`."""
    value = size / 1e6
    return f"{value:,.0f} MB" if value >= 100 else f"{value:.2g} MB" if value < 10 else f"{value:.1f} MB"


def _place(one: dict[str, Any]) -> str:
    return f"{one['path']} ({one['start']:g} to {one['end']:g} s)" if "start" in one else one["path"]


def _folded(title: str, listing: ErrorList, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> FoldedList:
    return FoldedList(title, listing.lines, listing.name, Table(title, columns, rows, hidden=True))

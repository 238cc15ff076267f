"""What is found in a data set's folder: rows for the manifest, and what is missing. Both are written as CSV."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from beam_jobs.inputs.file_listing import hash_fraction
from beam_jobs.inputs.manifest_rows import LABEL_SEPARATOR
from pemt_tf.errors import PemtError
from pemt_tf.files.names import printable, readable
from pemt_tf.files.whole_file import write_text

COLUMNS = ("path", "label", "labels", "split", "group", "start", "end")


@dataclass(frozen=True)
class Entry:
    """One row of a manifest; see docs/data_format.md."""

    path: str  # relative to the data set's root, with forward slashes
    label: str  # empty with several
    split: str
    group: str  # entries of one recording share it, and are always in the same split
    start: float | None = None  # seconds; None for the whole file
    end: float | None = None
    extra: tuple[tuple[str, str], ...] = ()  # further columns as (name, value)
    labels: tuple[str, ...] = ()  # in the place of `label`

    @property
    def every_label(self) -> tuple[str, ...]:
        """All labels, one or several."""
        return self.labels or (self.label,)


@dataclass(frozen=True)
class Missing:
    """An entry of the data set that is missing here, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Collection:
    """The content of a data set's folder."""

    entries: list[Entry]
    missing: list[Missing] = field(default_factory=list)  # named by the data set's own lists, not on disk
    notes: list[str] = field(default_factory=list)  # sentences for the user


def hold_out(entries: list[Entry], fraction: float) -> list[Entry]:
    """Moves the training groups whose hash is below `fraction` to the validation split.

    The choice depends only on the group's name, so it is the same on every machine and does not change when files are
    added or removed. A label keeps at least one training group, the one with the highest hash.
    """
    if not fraction:
        return entries
    if any(entry.split == "validation" for entry in entries):
        raise PemtError("this data set has a validation split of its own; leave out --validation-fraction")
    groups_of: dict[str, set[str]] = {}
    for entry in entries:
        for label in entry.every_label if entry.split == "train" else ():
            groups_of.setdefault(label, set()).add(entry.group)
    moved = {group for groups in groups_of.values() for group in groups if hash_fraction(group) < fraction}
    for groups in groups_of.values():
        if groups <= moved:
            moved.discard(max(groups, key=lambda group: (hash_fraction(group), group)))
    return [
        dataclasses.replace(entry, split="validation") if entry.split == "train" and entry.group in moved else entry
        for entry in entries
    ]


def write_manifest(path: Path, entries: list[Entry]) -> None:
    """Writes the rows as CSV, sorted by split and path, without the columns that no entry fills."""
    rows = [
        {
            **{name: getattr(entry, name) for name in COLUMNS},
            "path": readable(entry.path),
            "labels": LABEL_SEPARATOR.join(entry.labels),
            **dict(entry.extra),
        }
        for entry in sorted(entries, key=lambda entry: (entry.split, entry.path, entry.start or 0.0))
    ]
    further = dict.fromkeys(name for row in rows for name in row if name not in COLUMNS)
    names = [name for name in (*COLUMNS, *further) if any(row.get(name) not in (None, "") for row in rows)]
    write_table(path, names, rows)


def write_missing(path: Path, collection: Collection) -> Path | None:
    """Writes NAME.missing.csv beside the manifest and returns its path; if nothing is missing, removes an old one."""
    place = path.with_suffix(".missing.csv")
    if not collection.missing:
        place.unlink(missing_ok=True)
        return None
    write_table(place, ["name", "reason"], [{"name": item.name, "reason": item.reason} for item in collection.missing])
    return place


def write_table(path: Path, names: list[str], rows: list[dict[str, object]]) -> None:
    """Writes CSV with a header."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, names, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: printable(value) if isinstance(value, str) else value for name, value in row.items()})
    write_text(path, text.getvalue(), make_folder=True)


def summary(entries: list[Entry]) -> str:
    """A line such as `2,000 clips of 50 labels: test 400, train 1,600`."""
    counts = Counter(entry.split for entry in entries)
    splits = ", ".join(f"{split} {counts[split]:,}" for split in sorted(counts))
    labels = {label for entry in entries for label in entry.every_label}
    return f"{len(entries):,} clips of {len(labels):,} labels: {splits}"

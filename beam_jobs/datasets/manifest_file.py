"""Writes the manifest, and beside it the list of what is missing."""

from __future__ import annotations

import csv
import io
from collections import Counter
from pathlib import Path

from beam_jobs.datasets.collection import Collection, Entry
from pemt_tf.files.names import printable, readable
from pemt_tf.files.whole_file import write_text

COLUMNS = ("path", "label", "split", "group", "start", "end")


def write_manifest(path: Path, entries: list[Entry]) -> None:
    """Writes the rows as CSV, sorted by split and path, without the columns that no entry fills."""
    rows = [
        {
            "path": readable(entry.path),
            "label": entry.label,
            "split": entry.split,
            "group": entry.group,
            "start": entry.start,
            "end": entry.end,
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
    return f"{len(entries):,} clips of {len({entry.label for entry in entries}):,} labels: {splits}"

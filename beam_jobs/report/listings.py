"""Reads the lists of a data set for its report: errors/*.jsonl and duplicates.jsonl.

Only the first lines are kept; the others are counted.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field

from beam_jobs.engines import storage
from beam_jobs.finish.duplicates import DuplicatePair

FAILURES, FILTERED, NOTES, DUPLICATES = (
    "errors/failures.jsonl",
    "errors/filtered.jsonl",
    "errors/notes.jsonl",
    "duplicates.jsonl",
)
LINES_SHOWN = 200
PAIRS_READ = 64  # the clips of some may have been dropped
LINES_PARSED = 20_000  # in which examples of each cause are looked for
EXAMPLES = 12  # for each cause


@dataclass
class ErrorList:
    """The first lines of a file under errors/."""

    name: str
    lines: int = 0  # in the file
    first: list[dict] = field(default_factory=list)
    examples: dict[str, list[str]] = field(default_factory=dict)  # names of inputs, by cause


def read_listing(folder: str, name: str, shown: int = LINES_SHOWN) -> ErrorList:
    """Reads one of the files under errors/."""
    listing = ErrorList(name)
    for line in _lines(folder, name):
        if listing.lines < LINES_PARSED:
            values = json.loads(line)
            if len(listing.first) < shown:
                listing.first.append(values)
            # What has a start is a window of an input that was written.
            if "cause" in values and "start" not in values:
                examples = listing.examples.setdefault(values["cause"], [])
                if len(examples) < EXAMPLES:
                    examples.append(values["path"])
        listing.lines += 1
    return listing


@dataclass
class Pairs:
    """Near-duplicate clips: the number of pairs, and the first of them, those across splits before the others."""

    count: int = 0
    first: list[DuplicatePair] = field(default_factory=list)


def read_pairs(folder: str) -> Pairs:
    """Reads duplicates.jsonl."""
    pairs = Pairs()
    for line in _lines(folder, DUPLICATES):
        if len(pairs.first) < PAIRS_READ:
            pairs.first.append(DuplicatePair(**json.loads(line)))
        pairs.count += 1
    return pairs


def _lines(folder: str, name: str) -> Iterator[bytes]:
    with storage.open_read(storage.join(folder, name)) as file:
        for line in file:
            if line.strip():
                yield line

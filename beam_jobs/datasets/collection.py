"""What is found in a data set's folder: rows for the manifest, and what is missing."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Entry:
    """One row of a manifest; see docs/data_format.md."""

    path: str  # relative to the data set's root, with forward slashes
    label: str
    split: str
    group: str  # entries of one recording share it, and are always in the same split
    start: float | None = None  # seconds; None for the whole file
    end: float | None = None
    extra: tuple[tuple[str, str], ...] = ()  # further columns as (name, value)


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

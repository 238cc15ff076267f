"""What the reader of a data set's layout found: rows for the manifest, and what should be there and is not."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Entry:
    """One row of a manifest; see docs/data_format.md.

    Attributes:
        path: relative to the data set's root, with forward slashes.
        label: name of the class.
        split: `train`, `validation` or `test`.
        group: entries of one recording, which never stand on both sides of a split.
        start, end: seconds; None for the whole file.
        extra: further columns, (name, value).
    """

    path: str
    label: str
    split: str
    group: str
    start: float | None = None
    end: float | None = None
    extra: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Missing:
    """One entry of the data set that cannot be used here: what it is and why not."""

    name: str
    reason: str


@dataclass(frozen=True)
class Collection:
    """All that a layout holds.

    Attributes:
        entries: what is there.
        missing: what the data set's own lists name and the disk does not have.
        notes: sentences about what was found, for the user.
    """

    entries: list[Entry]
    missing: list[Missing] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

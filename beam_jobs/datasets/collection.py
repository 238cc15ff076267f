"""What is found in a data set's folder: rows for the manifest, and what is missing."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Entry:
    """One row of a manifest; see docs/data_format.md.

    Attributes:
        path: path relative to the data set's root, with forward slashes.
        label: name of the class.
        split: `train`, `validation` or `test`.
        group: name shared by entries of one recording, which are always in the same split.
        start: start in seconds; None for the whole file.
        end: end in seconds; None for the whole file.
        extra: further columns as (name, value).
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
    """An entry of the data set that is missing here, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Collection:
    """The content of a data set's folder.

    Attributes:
        entries: what was found.
        missing: what the data set's own lists name and the disk does not have.
        notes: sentences for the user about what was found.
    """

    entries: list[Entry]
    missing: list[Missing] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

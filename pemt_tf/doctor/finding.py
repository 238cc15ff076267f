"""The result of one check."""

from __future__ import annotations

from dataclasses import dataclass

OK, WARNING, PROBLEM = "ok", "warning", "problem"


@dataclass(frozen=True)
class Finding:
    """The result of one check."""

    status: str  # `ok`; `warning`: usable with a limit; `problem`: something will not work
    name: str  # what was checked
    found: str
    fix: str = ""  # what to do; for an optional part that is absent, how to get it

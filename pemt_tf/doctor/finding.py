"""The result of one check."""

from __future__ import annotations

from dataclasses import dataclass

OK, WARNING, PROBLEM = "ok", "warning", "problem"


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        status: `ok`; `warning`, work is possible with a limit; `problem`, something will not work.
        name: what was checked.
        found: what was found.
        fix: what to do about it; for an optional part that is absent, how to get it.
    """

    status: str
    name: str
    found: str
    fix: str = ""

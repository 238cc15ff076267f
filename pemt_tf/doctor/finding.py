"""One line of the doctor's report."""

from __future__ import annotations

from dataclasses import dataclass

OK, WARNING, PROBLEM = "ok", "warning", "problem"


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes:
        status: `ok`; `warning`, work is possible with a limit; `problem`, something will not work.
        name: what was looked at.
        found: what is there.
        fix: what to do about it; for what is optional and absent, how to get it.
    """

    status: str
    name: str
    found: str
    fix: str = ""

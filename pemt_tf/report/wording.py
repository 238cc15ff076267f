"""How figures are worded on the page."""

from __future__ import annotations


def percent(share: float, digits: int = 0) -> str:
    """A share of 1 as per cent: `91 %`; the space does not break."""
    return f"{100 * share:.{digits}f}\N{NO-BREAK SPACE}%"


def counted(number: int, singular: str, plural: str) -> str:
    """`1 clip`, `2 clips`, `1,200 clips`."""
    return f"{number:,}\N{NO-BREAK SPACE}{singular if number == 1 else plural}"


def duration(seconds: float) -> str:
    """`0.4 s`, `41 s`, `3 min 05 s`, `2 h 10 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"

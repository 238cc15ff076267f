"""Tables as plain data: a page shows them as HTML (`templates/blocks.html`), a card as Markdown."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from pemt_tf.report.wording import percent


class Number(str):
    """The title of a column of figures, which are aligned to the right."""

    __slots__ = ()


class Code(str):
    """Text in a fixed-width font."""

    __slots__ = ()

    def __html__(self) -> Markup:
        return Markup("<code>{}</code>").format(str(self))


@dataclass(frozen=True)
class Bar:
    """A horizontal bar; `share` is its length, from 0 to 1."""

    share: float

    def __html__(self) -> Markup:
        return Markup('<span class="bar" style="--share:{:.4f}"></span>').format(min(max(self.share, 0.0), 1.0))


@dataclass(frozen=True)
class Measured:
    """A share of clips, 0 to 1, with its 95 % interval; both None where nothing was measured."""

    value: float | None
    interval: Sequence[float] | None = None

    def __str__(self) -> str:
        if self.value is None:
            return "not measured"
        return percent(self.value, 1) + (f" ({interval(self.interval)})" if self.interval else "")

    def __html__(self) -> Markup:
        if self.value is None:
            return Markup("not measured")
        small = Markup("<small> {}</small>").format(interval(self.interval)) if self.interval else ""
        return Markup("<span><strong>{}</strong>{}</span>").format(percent(self.value, 1), small)


Cell = str | int | Bar | Measured | None  # whole numbers are shown as text


@dataclass(frozen=True)
class Table:
    """A table whose first column names the rows."""

    caption: str
    columns: Sequence[str]  # `Number` aligns to the right; an empty title is that of a column of bars
    rows: Collection[Sequence[Cell]]  # None is an empty cell
    hidden: bool = False  # the caption is for screen readers only: the section's heading says it

    @property
    def kinds(self) -> list[str | None]:
        """The CSS class of each column."""
        return ["number" if isinstance(title, Number) else None if title else "bar-cell" for title in self.columns]


def interval(bounds: Sequence[float] | None, digits: int = 1) -> str:
    """`83.0 to 96.1 %`; empty where there are no bounds."""
    return f"{100 * bounds[0]:.{digits}f} to {percent(bounds[1], digits)}" if bounds else ""

"""Plain tables of text and figures."""

from __future__ import annotations

from collections.abc import Sequence

from pemt_tf.report.markup import Markup, element

NUMBER = "number"


def table(caption: str, columns: Sequence[tuple[str, str | None]], rows: Sequence[Sequence[object]]) -> Markup:
    """A table in a frame that scrolls if it is too wide.

    Args:
        caption: above it; the frame's name for those who cannot see.
        columns: (title, class), the class `NUMBER` aligns to the right; the first column heads its row.
        rows: cells in the order of the columns.
    """
    head = [element("th", title, scope="col", class_=kind) for title, kind in columns]
    body = [element("tr", _cells(columns, row)) for row in rows]
    content = element(
        "table",
        element("caption", caption) if caption else None,
        element("thead", element("tr", head)),
        element("tbody", body),
        class_="plain",
    )
    return element("div", content, class_="scroll", tabindex="0", role="region", aria_label=caption or "Table")


def facts(rows: Sequence[tuple[str, object]]) -> Markup:
    """Names and what they are, one a row; rows whose value is None are left out."""
    body = [
        element("tr", element("th", name, scope="row"), element("td", value))
        for name, value in rows
        if value is not None
    ]
    return element("table", element("tbody", body), class_="plain facts")


def _cells(columns: Sequence[tuple[str, str | None]], row: Sequence[object]) -> list[Markup]:
    cells = []
    for place, ((_, kind), value) in enumerate(zip(columns, row, strict=True)):
        cells.append(element("td" if place else "th", value, class_=kind, scope=None if place else "row"))
    return cells

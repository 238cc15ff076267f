"""The reliability diagram: how often a model is right, by how sure it is."""

from __future__ import annotations

from typing import Any

from pemt_tf.report.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Axis
from pemt_tf.report.markup import Markup, element
from pemt_tf.report.wording import counted, percent

TICKS = (0, 0.25, 0.5, 0.75, 1)


def reliability_diagram(bins: list[dict[str, Any]], description: str) -> Markup:
    """Draws a column per bin that holds clips, as high as the share that is right, with the diagonal over it.

    Args:
        bins: `low`, `high`, `clips`, `confidence`, `accuracy`; see `pemt_tf.evaluation.calibration`.
        description: for those who cannot see the chart.
    """
    across, up = Axis(0, 1, LEFT, WIDTH - RIGHT), Axis(0, 1, HEIGHT - BOTTOM, TOP)
    content = []
    for tick in TICKS:
        x, y = f"{across.position(tick):.1f}", f"{up.position(tick):.1f}"
        content.append(element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, class_="grid"))
        content.append(element("text", f"{100 * tick:g} %", x=LEFT - 6, y=y, dy="0.32em", text_anchor="end"))
        anchor = "end" if tick == 1 else "middle"
        content.append(element("text", f"{100 * tick:g} %", x=x, y=HEIGHT - 7, text_anchor=anchor))
    content += [_column(item, across, up) for item in bins if item["clips"]]
    ends = {"x1": LEFT, "y1": f"{up.position(0):.1f}", "x2": f"{across.position(1):.1f}", "y2": f"{up.position(1):.1f}"}
    content.append(element("line", class_="diagonal", **ends))
    return element("svg", content, class_="chart", viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", aria_label=description)


def _column(item: dict[str, Any], across: Axis, up: Axis) -> Markup:
    x, y = across.position(item["low"]), up.position(item["accuracy"])
    tooltip = (
        f"{counted(item['clips'], 'clip', 'clips')} named with {percent(item['low'])} to {percent(item['high'])}: "
        f"{percent(item['accuracy'], 1)} right, mean probability {percent(item['confidence'], 1)}"
    )
    size = {"width": f"{across.position(item['high']) - x - 1:.1f}", "height": f"{up.start - y:.1f}"}
    return element("rect", element("title", tooltip), x=f"{x:.1f}", y=f"{y:.1f}", **size, class_="column")

"""Small line charts and histograms as inline SVG.

Colours and fonts come from the style sheet, so that they follow the theme.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from pemt_tf.report.contents import Series
from pemt_tf.report.markup import Markup, element

WIDTH, HEIGHT = 340, 190
LEFT, RIGHT, TOP, BOTTOM = 44, 10, 10, 24  # margins around the plot, in the chart's own units
HISTOGRAM_HEIGHT = 130
MOST_EDGE_LABELS = 6
FEWEST_COLUMNS = 8  # one wide column would look like much
MOST_POINTS = 240  # drawn per line; longer runs are averaged
SMOOTHING = 15  # the bold line is a running mean over this share (1 / 15) of the points


@dataclass(frozen=True)
class Axis:
    """Maps values from `low` to `high` onto positions from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float

    def position(self, value: float) -> float:
        """Where a value is drawn."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def nice_ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round values (1, 2 or 5 times a power of ten apart) from `low` to `high`, at most `most` of them."""
    span = high - low
    exponent = math.floor(math.log10(span / most)) if span > 0 else 0
    for step in (factor * 10.0**power for power in range(exponent, exponent + 3) for factor in (1, 2, 5)):
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first < most:
            return [round(number * step, 12) for number in range(first, last + 1)]
    return [low]


def thinned(series: Series, most: int = MOST_POINTS) -> Series:
    """Averages neighbouring points until at most `most` are left; leaves out what is not finite."""
    points = [(step, value) for step, value in zip(series.steps, series.values, strict=True) if math.isfinite(value)]
    size = math.ceil(len(points) / most) if points else 1
    groups = [points[start : start + size] for start in range(0, len(points), size)]
    return Series(
        tuple(group[-1][0] for group in groups),
        tuple(sum(value for _, value in group) / len(group) for group in groups),
    )


def running_mean(values: tuple[float, ...], reach: int) -> list[float]:
    """Mean of each value with up to `reach` values on either side."""
    windows = [values[max(0, index - reach) : index + reach + 1] for index in range(len(values))]
    return [sum(window) / len(window) for window in windows]


def path_data(steps: tuple[int, ...], values: list[float] | tuple[float, ...], across: Axis, up: Axis) -> str:
    """The `d` attribute of a line through the points."""
    points = [f"{across.position(x):.1f} {up.position(y):.1f}" for x, y in zip(steps, values, strict=True)]
    return "M" + " L".join(points) if points else ""


def line_chart(lines: list[tuple[str, Series]], description: str) -> Markup:
    """Draws series over their steps: a thin line through the values, a bold one through their running mean.

    Args:
        lines: (name, series), at most three; the style sheet has a colour for each place.
        description: for those who cannot see the chart.
    """
    drawn = [(name, thinned(series)) for name, series in lines]
    steps = [step for _, series in drawn for step in series.steps]
    values = [value for _, series in drawn for value in series.values]
    if not values:
        return element("p", "No finite value was logged.", class_="empty")
    across, up = _axes(steps, values)
    content = [_grid(across, up)]
    for place, (name, series) in enumerate(drawn, 1):
        if not series.values:
            continue
        reach = len(series.values) // SMOOTHING // 2
        if reach:
            thin = path_data(series.steps, series.values, across, up)
            content.append(element("path", d=thin, class_=f"thin series-{place}"))
        bold = path_data(series.steps, running_mean(series.values, reach), across, up)
        content.append(element("path", element("title", name), d=bold, class_=f"bold series-{place}"))
        if len(series.values) == 1:
            place_at = {"cx": f"{across.position(series.steps[0]):.1f}", "cy": f"{up.position(series.values[0]):.1f}"}
            content.append(element("circle", r=3, class_=f"dot series-{place}", **place_at))
    return element("svg", content, class_="chart", viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", aria_label=description)


def histogram(edges: tuple[float, ...], counts: tuple[int, ...], unit: str, description: str) -> Markup:
    """Draws counts as columns of one width; the tooltip of each says its range and count.

    Args:
        edges: of the columns, one more than there are counts; a column includes its lower edge.
        counts: at least one.
        unit: of the edges.
        description: for those who cannot see the chart.
    """
    across = Axis(0, max(len(counts), FEWEST_COLUMNS), LEFT, WIDTH - RIGHT)
    up = Axis(0, max(*counts, 1), HISTOGRAM_HEIGHT - BOTTOM, TOP)
    content = [_counts_grid(up)]
    for place, count in enumerate(counts):
        x, y = across.position(place), up.position(count)
        tooltip = element("title", f"{_round(edges[place])} to {_round(edges[place + 1])} {unit}: {count:,}")
        size = {"width": f"{across.position(place + 1) - x - 1:.1f}", "height": f"{up.start - y:.1f}"}
        content.append(element("rect", tooltip, x=f"{x:.1f}", y=f"{y:.1f}", **size, class_="column"))
    between = math.ceil(len(edges) / MOST_EDGE_LABELS)
    for place in range(0, len(edges), between):
        anchor = "end" if across.position(place) > WIDTH - RIGHT - 1 else "middle"
        where = {"x": f"{across.position(place):.1f}", "y": HISTOGRAM_HEIGHT - 7, "text_anchor": anchor}
        content.append(element("text", _round(edges[place]), **where))
    view = f"0 0 {WIDTH} {HISTOGRAM_HEIGHT}"
    return element("svg", content, class_="chart", viewBox=view, role="img", aria_label=description)


def _round(value: float) -> str:
    return f"{value:,.10g}"


def _counts_grid(up: Axis) -> list[Markup]:
    marks = []
    for value in nice_ticks(0, up.high, 3):
        if value != round(value):
            continue  # there is no half of a clip
        y = f"{up.position(value):.1f}"
        marks.append(element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, class_="grid"))
        marks.append(element("text", f"{value:,.0f}", x=LEFT - 6, y=y, dy="0.32em", text_anchor="end"))
    return marks


def _axes(steps: list[int], values: list[float]) -> tuple[Axis, Axis]:
    low, high = min(values), max(values)
    margin = (high - low) * 0.06 or abs(high) * 0.1 or 0.1
    low = 0.0 if low >= 0 and low < 0.4 * high else low - margin  # zero is shown where it is near
    first, last = min(steps), max(steps)
    across = Axis(first, last if last > first else first + 1, LEFT, WIDTH - RIGHT)
    return across, Axis(low, high + margin, HEIGHT - BOTTOM, TOP)


def _grid(across: Axis, up: Axis) -> list[Markup]:
    marks = []
    for value in nice_ticks(up.low, up.high):
        y = f"{up.position(value):.1f}"
        marks.append(element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, class_="grid"))
        marks.append(element("text", f"{value:g}", x=LEFT - 6, y=y, dy="0.32em", text_anchor="end"))
    for value in nice_ticks(across.low, across.high):
        x = across.position(value)
        anchor = "end" if x > WIDTH - RIGHT - 12 else "middle"
        marks.append(element("text", f"{value:,.0f}", x=f"{x:.1f}", y=HEIGHT - 7, text_anchor=anchor))
    return marks

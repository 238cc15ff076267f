"""Line charts, histograms and reliability diagrams: where everything is drawn. `templates/blocks.html` writes SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pemt_tf.report.contents import Curves, Series
from pemt_tf.report.wording import counted, percent

WIDTH, HEIGHT = 340, 190
LEFT, RIGHT, TOP, BOTTOM = 44, 10, 10, 24  # margins around the plot, in the chart's own units
HISTOGRAM_HEIGHT = 130
MOST_EDGE_LABELS = 6
FEWEST_COLUMNS = 8  # a histogram of one column would fill the chart
MOST_POINTS = 240  # drawn per line; longer runs are averaged
SMOOTHING = 15  # the bold line is a running mean over this share (1 / 15) of the points
PERCENT_TICKS = (0, 0.25, 0.5, 0.75, 1)


@dataclass(frozen=True)
class Axis:
    """Maps values from `low` to `high` onto positions from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float

    def position(self, value: float) -> float:
        """The position at which a value is drawn."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


@dataclass(frozen=True)
class Line:
    """A line of a chart; `thin` (may be empty) and `bold`, the running mean, are `d` attributes of SVG paths."""

    place: int  # 1 to 3; each has its colour
    name: str  # its tooltip
    thin: str
    bold: str
    dot: tuple[float, float] | None  # (x, y) of a line that has only one point


@dataclass(frozen=True)
class Column:
    """A column of a chart: its rectangle and its tooltip."""

    x: float
    y: float
    width: float
    height: float
    tooltip: str


@dataclass(frozen=True)
class Chart:
    """A chart. `description` is for screen readers; `rows` are the grid lines, `ticks` the labels below."""

    description: str
    rows: Sequence[tuple[float, str]]
    ticks: Sequence[tuple[float, str]]
    lines: Sequence[Line] = ()
    columns: Sequence[Column] = ()
    height: int = HEIGHT
    has_diagonal: bool = False  # a dashed line from corner to corner


@dataclass(frozen=True)
class Panel:
    """A chart with its title, a figure beside the title, and a note, which also says why there is no chart."""

    title: str
    chart: Chart | None
    figure: str = ""
    note: str = ""


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
    """Averages neighbouring points until at most `most` are left; drops values that are not finite."""
    points = [(step, value) for step, value in zip(series.steps, series.values, strict=True) if math.isfinite(value)]
    size = math.ceil(len(points) / most) if points else 1
    groups = [points[start : start + size] for start in range(0, len(points), size)]
    return Series(
        tuple(group[-1][0] for group in groups),
        tuple(sum(value for _, value in group) / len(group) for group in groups),
    )


def running_mean(values: Sequence[float], reach: int) -> list[float]:
    """Mean of each value with up to `reach` values on either side."""
    windows = [values[max(0, index - reach) : index + reach + 1] for index in range(len(values))]
    return [sum(window) / len(window) for window in windows]


def path_data(steps: Sequence[int], values: Sequence[float], across: Axis, up: Axis) -> str:
    """The `d` attribute of a line through the points."""
    points = [f"{across.position(x):.1f} {up.position(y):.1f}" for x, y in zip(steps, values, strict=True)]
    return "M" + " L".join(points) if points else ""


def line_chart(lines: Sequence[tuple[str, Series]], description: str) -> Chart | None:
    """Draws up to three series over their steps: a thin line through the values, a bold one through their running mean.

    Returns None where no value is finite. Each line's place has a colour in the style sheet.
    """
    drawn = [(place, name, thinned(series)) for place, (name, series) in enumerate(lines, 1)]
    drawn = [line for line in drawn if line[2].values]
    if not drawn:
        return None
    across, up = _axes(
        [step for *_, series in drawn for step in series.steps],
        [value for *_, series in drawn for value in series.values],
    )
    return Chart(
        description,
        rows=[(up.position(value), f"{value:g}") for value in nice_ticks(up.low, up.high)],
        ticks=[(across.position(value), f"{value:,.0f}") for value in nice_ticks(across.low, across.high)],
        lines=[_line(place, name, series, across, up) for place, name, series in drawn],
    )


def histogram(edges: Sequence[float], counts: Sequence[int], unit: str, description: str) -> Chart:
    """Draws counts, at least one, as columns of one width; the tooltip of each says its range and count.

    There is one more of `edges` than of counts; a column includes its lower edge.
    """
    across = Axis(0, max(len(counts), FEWEST_COLUMNS), LEFT, WIDTH - RIGHT)
    up = Axis(0, max(*counts, 1), HISTOGRAM_HEIGHT - BOTTOM, TOP)
    columns = [
        _column(across, up, place, place + 1, count, f"{low:,.10g} to {high:,.10g} {unit}: {count:,}")
        for place, (low, high, count) in enumerate(zip(edges, edges[1:], counts, strict=False))
    ]
    labelled = range(0, len(edges), math.ceil(len(edges) / MOST_EDGE_LABELS))
    whole = [value for value in nice_ticks(0, up.high, 3) if value == round(value)]  # there is no half of a clip
    return Chart(
        description,
        rows=[(up.position(value), f"{value:,.0f}") for value in whole],
        ticks=[(across.position(place), f"{edges[place]:,.10g}") for place in labelled],
        columns=columns,
        height=HISTOGRAM_HEIGHT,
    )


def reliability_diagram(bins: Sequence[dict[str, Any]], description: str) -> Chart:
    """Draws the diagonal, and a column as high as its accuracy per bin of `calibration.calibration` that has clips."""
    across, up = Axis(0, 1, LEFT, WIDTH - RIGHT), Axis(0, 1, HEIGHT - BOTTOM, TOP)
    columns = [
        _column(
            across,
            up,
            item["low"],
            item["high"],
            item["accuracy"],
            f"{counted(item['clips'], 'clip', 'clips')} predicted with {percent(item['low'])} to "
            f"{percent(item['high'])}: {percent(item['accuracy'], 1)} correct, mean probability "
            f"{percent(item['confidence'], 1)}",
        )
        for item in bins
        if item["clips"]
    ]
    rows, ticks = ([(axis.position(tick), f"{100 * tick:g} %") for tick in PERCENT_TICKS] for axis in (up, across))
    return Chart(description, rows, ticks, columns=columns, has_diagonal=True)


def curve_panels(curves: Curves) -> list[Panel]:
    """One panel per logged quantity, the runs over each other."""
    panels = []
    for term in dict.fromkeys(term for run in curves.runs for term in run.terms):
        name = term.replace("_", " ")
        lines = [(run.name, run.terms.get(term, Series((), ()))) for run in curves.runs]
        last = " · ".join(f"{series.values[-1]:.3g}" for _, series in lines if series.values)
        description = "; ".join(f"{run}: {_first_and_last(series)}" for run, series in lines)
        chart = line_chart(lines, f"{name} over steps. {description}")
        panels.append(Panel(name, chart, last, "" if chart else "No finite value was logged."))
    return panels


def _first_and_last(series: Series) -> str:
    if not series.values:
        return "nothing logged"
    return f"{series.values[0]:.3g} at step {series.steps[0]}, {series.values[-1]:.3g} at step {series.steps[-1]}"


def _line(place: int, name: str, series: Series, across: Axis, up: Axis) -> Line:
    reach = len(series.values) // SMOOTHING // 2
    thin = path_data(series.steps, series.values, across, up) if reach else ""
    bold = path_data(series.steps, running_mean(series.values, reach), across, up)
    dot = (across.position(series.steps[0]), up.position(series.values[0])) if len(series.values) == 1 else None
    return Line(place, name, thin, bold, dot)


def _column(across: Axis, up: Axis, low: float, high: float, value: float, tooltip: str) -> Column:
    x, y = across.position(low), up.position(value)
    return Column(x, y, across.position(high) - x - 1, up.start - y, tooltip)


def _axes(steps: Sequence[int], values: Sequence[float]) -> tuple[Axis, Axis]:
    low, high = min(values), max(values)
    margin = (high - low) * 0.06 or abs(high) * 0.1 or 0.1
    low = 0.0 if 0 <= low < 0.4 * high else low - margin  # zero is shown where it is near
    first, last = min(steps), max(steps)
    across = Axis(first, last if last > first else first + 1, LEFT, WIDTH - RIGHT)
    return across, Axis(low, high + margin, HEIGHT - BOTTOM, TOP)

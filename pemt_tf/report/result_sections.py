"""Sections with figures: key figures, comparison, confusion, parameters, curves, preprocessing, commands."""

from __future__ import annotations

from pemt_tf.report.charts import line_chart
from pemt_tf.report.contents import (
    Accuracy,
    CommandRun,
    Comparison,
    ConfusionMatrix,
    Curves,
    KeyFigure,
    Outcome,
    ParameterTable,
    Preprocessing,
    Series,
)
from pemt_tf.report.markup import Markup, element
from pemt_tf.report.wording import counted, duration, percent

LARGEST_MATRIX = 40  # labels; with more of them only the confusions that happen most are listed
CONFUSIONS_LISTED = 12
FILES_LISTED = 12


def key_figures(figures: tuple[KeyFigure, ...]) -> Markup:
    """The figures of the header."""
    return element(
        "dl",
        [
            element(
                "div",
                element("dt", figure.name),
                element("dd", figure.value, class_="value"),
                element("dd", figure.detail, class_="detail") if figure.detail else None,
            )
            for figure in figures
        ],
        class_="key-figures",
    )


def comparison(content: Comparison) -> Markup:
    """Accuracies as points with their intervals on one scale from 0 to 100 %, with chance marked."""
    rows = [_accuracy_row(row, content.chance, first=number == 0) for number, row in enumerate(content.rows)]
    scale = [element("span", f"{tick} %", style=f"--at:{tick / 100}") for tick in (0, 25, 50, 75, 100)]
    explanation = (
        f"Share of {counted(content.clips, 'held-out clip', 'held-out clips')} whose label the model names; point: "
        f"measured, bar: 95 % interval, dashed line: chance ({percent(content.chance)})."
    )
    return element(
        "div",
        element("div", rows, element("div", scale, class_="scale", aria_hidden="true"), class_="comparison"),
        element("p", explanation, class_="note"),
    )


def _accuracy_row(row: Accuracy, chance: float, first: bool) -> Markup:
    interval = f"{percent(row.low)} to {percent(row.high)}"
    style = f"--at:{row.value:.4f};--low:{row.low:.4f};--high:{row.high:.4f};--chance:{chance:.4f}"
    marks = [element("span", class_=name) for name in ("chance", "interval", "point")]
    return element(
        "div",
        element("span", row.name, class_="name"),
        element("span", marks, class_="track", style=style, aria_hidden="true"),
        element("span", element("strong", percent(row.value)), element("small", interval), class_="figure"),
        class_="accuracy first" if first else "accuracy",
    )


def confusion(matrix: ConfusionMatrix, per_label: bool = True) -> Markup:
    """The matrix of true against predicted labels and the most frequent confusions, or the accuracy of each label.

    Args:
        matrix: the counts.
        per_label: whether to show each label's accuracy; not where a section of its own does.
    """
    small = len(matrix.labels) <= LARGEST_MATRIX
    return element(
        "div",
        _matrix_table(matrix) if small else None,
        element("div", _per_label_table(matrix) if per_label else None, _confusion_list(matrix), class_="beside"),
        class_="confusion",
    )


def _matrix_table(matrix: ConfusionMatrix) -> Markup:
    head = [element("th", element("span", label), scope="col") for label in matrix.labels]
    rows = []
    for true, (label, counts) in enumerate(zip(matrix.labels, matrix.counts, strict=True)):
        total = sum(counts)
        cells = []
        for predicted, count in enumerate(counts):
            share = count / total if total else 0.0
            classes = [name for name, holds in (("hit", predicted == true), ("strong", share > 0.5)) if holds]
            style = f"--share:{share:.3f}" if count else None
            cells.append(element("td", count or "·", class_=" ".join(classes) or None, style=style))
        rows.append(element("tr", element("th", label, scope="row"), cells))
    caption = "Rows: true label. Columns: predicted label. The stronger the colour, the larger the share of the row."
    corner = element("td", class_="corner")
    table = element(
        "table",
        element("caption", caption),
        element("thead", element("tr", corner, head)),
        element("tbody", rows),
        class_="matrix",
    )
    return element("div", table, class_="scroll", tabindex="0", role="region", aria_label="Confusion matrix")


def _per_label_table(matrix: ConfusionMatrix) -> Markup:
    rows = []
    for index, (label, counts) in enumerate(zip(matrix.labels, matrix.counts, strict=True)):
        total = sum(counts)
        if not total:
            continue
        bar = element("span", class_="bar", style=f"--share:{counts[index] / total:.4f}")
        figures = element("td", f"{counts[index]} of {total}", class_="number")
        rows.append(element("tr", element("th", label, scope="row"), element("td", bar, class_="bar-cell"), figures))
    caption = element("caption", "Clips named right, by true label")
    return element("table", caption, element("tbody", rows), class_="scores per-label")


def _confusion_list(matrix: ConfusionMatrix) -> Markup | None:
    if len(matrix.labels) <= LARGEST_MATRIX:
        return None
    pairs = [
        (count, matrix.labels[true], matrix.labels[predicted])
        for true, counts in enumerate(matrix.counts)
        for predicted, count in enumerate(counts)
        if count and true != predicted
    ]
    worst = sorted(pairs, key=lambda pair: -pair[0])[:CONFUSIONS_LISTED]
    items = [element("li", f"{true} taken for {predicted}: {count}") for count, true, predicted in worst]
    return element("div", element("h3", "Most frequent confusions"), element("ol", items))


def parameters(table: ParameterTable) -> Markup:
    """Parameters by part of the model."""
    rows = [
        element(
            "tr",
            element("th", row.part, scope="row"),
            element("td", f"{row.parameters:,}", class_="number"),
            element("td", percent(row.parameters / table.total, 1) if table.total else "", class_="number wide-only"),
            element("td", row.shared_by),
        )
        for row in table.rows
    ]
    head = [
        element("th", "Part", scope="col"),
        element("th", "Parameters", scope="col", class_="number"),
        element("th", "Share", scope="col", class_="number wide-only"),
        element("th", "Shared by", scope="col"),
    ]
    share = percent(1, 1) if table.total else ""
    total = [
        element("th", "Whole model", scope="row"),
        element("td", f"{table.total:,}", class_="number"),
        element("td", share, class_="number wide-only"),
        element("td"),
    ]
    caption = element("caption", "Parameters, counted from the built model")
    body = [element("thead", element("tr", head)), element("tbody", rows), element("tfoot", element("tr", total))]
    summary = element("p", element("code", table.summary), class_="note") if table.summary else None
    return element("div", element("div", element("table", caption, body, class_="plain"), class_="scroll"), summary)


def curves(groups: tuple[Curves, ...]) -> Markup:
    """One chart per term and group of runs, the runs over each other."""
    explanation = "Over optimizer steps; thin: as logged, bold: running mean, figure: last value logged."
    return element("div", element("p", explanation, class_="note"), [_curve_group(group) for group in groups])


def _curve_group(content: Curves) -> Markup:
    terms = dict.fromkeys(term for run in content.runs for term in run.terms)
    charts = []
    for term in terms:
        name = term.replace("_", " ")
        lines = [(run.name, run.terms.get(term, Series((), ()))) for run in content.runs]
        description = "; ".join(f"{run}: {_first_and_last(series)}" for run, series in lines)
        last = " · ".join(f"{series.values[-1]:.3g}" for _, series in lines if series.values)
        caption = element("figcaption", element("span", name), element("b", last))
        chart = line_chart(lines, f"{name} over steps. {description}")
        charts.append(element("figure", caption, chart, class_="panel"))
    legend = [element("li", run.name, class_=f"series-{place}") for place, run in enumerate(content.runs, 1)]
    return element(
        "div",
        element("h3", content.title),
        element("p", content.note) if content.note else None,
        element("ul", legend, class_="legend") if len(content.runs) > 1 else None,
        element("div", charts, class_="panels"),
    )


def _first_and_last(series: Series) -> str:
    if not series.values:
        return "nothing logged"
    return f"{series.values[0]:.3g} at step {series.steps[0]}, {series.values[-1]:.3g} at step {series.steps[-1]}"


def preprocessing(content: Preprocessing) -> Markup:
    """What became of every input."""
    terms = [
        (f"{content.inputs:,}", "inputs"),
        (f"{content.written:,}", "written"),
        (f"{content.count('filtered'):,}", "filtered by a rule"),
        (f"{content.count('failed'):,}", "failed"),
    ]
    signs = ("", "=", "+", "+")
    equation = [
        element("span", element("i", sign) if sign else None, element("b", value), element("small", name))
        for (value, name), sign in zip(terms, signs, strict=True)
    ]
    return element("div", element("p", equation, class_="equation"), _outcome_table(content.outcomes))


def _outcome_table(outcomes: tuple[Outcome, ...]) -> Markup | None:
    if not outcomes:
        return None
    columns = (("Outcome", None), ("Reason", None), ("Inputs", "number"), ("Files", None))
    head = [element("th", name, scope="col", class_=kind) for name, kind in columns]
    rows = [
        element(
            "tr",
            element("td", outcome.kind),
            element("th", outcome.reason, scope="row"),
            element("td", f"{outcome.count:,}", class_="number"),
            element("td", _file_names(outcome), class_="files"),
        )
        for outcome in outcomes
    ]
    caption = element("caption", "Inputs that did not become clips")
    table = element("table", caption, element("thead", element("tr", head)), element("tbody", rows), class_="plain")
    return element("div", table, class_="scroll")


def _file_names(outcome: Outcome) -> list[Markup]:
    names = [element("code", name) for name in outcome.files[:FILES_LISTED]]
    more = outcome.count - len(names)
    return [element("span", name) for name in names] + ([element("span", f"and {more:,} more")] if more > 0 else [])


def commands(runs: tuple[CommandRun, ...]) -> Markup:
    """The commands that made all this."""
    items = [
        element(
            "li",
            element("pre", element("code", run.command)),
            element("span", duration(run.seconds), class_="muted") if run.seconds is not None else None,
        )
        for run in runs
    ]
    return element("ol", items, class_="commands")

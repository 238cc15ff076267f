"""Sections about a classifier's evaluation: accuracies with intervals, label by label, calibration."""

from __future__ import annotations

from typing import Any

from pemt_tf.evaluation.intervals import top5_is_certain
from pemt_tf.report.charts import histogram
from pemt_tf.report.markup import Markup, element
from pemt_tf.report.reliability import reliability_diagram
from pemt_tf.report.tables import NUMBER, table
from pemt_tf.report.wording import counted, percent

LABELS_SHOWN_OPEN = 40


def interval(bounds: Any, digits: int = 1) -> str:
    """`83.0 to 96.1 %`; empty where there are no bounds."""
    if not bounds:
        return ""
    low, high = bounds
    return f"{100 * low:.{digits}f} to {percent(high, digits)}"


def with_interval(value: float | None, bounds: Any) -> Markup | str:
    """A share with its 95 % interval below it."""
    if value is None:
        return "not measured"
    small = interval(bounds)
    return element("span", element("strong", percent(value, 1)), element("small", f" {small}") if small else None)


def evaluations(found: dict[str, dict[str, Any]]) -> Markup:
    """A row for each split that was evaluated, and what must be known to read it."""
    columns = (
        ("Split", None),
        ("Clips", NUMBER),
        ("Top-1, 95 % interval", None),
        ("Top-5, 95 % interval", None),
        ("Chance", NUMBER),
        ("Views \N{MULTIPLICATION SIGN} crops", NUMBER),
        ("Calibration error", NUMBER),
    )
    rows = [
        (
            split,
            f"{item['clips']:,}",
            with_interval(item["accuracy"], item["interval"]),
            with_interval(item.get("top5"), item.get("top5_interval")),
            percent(item["chance"], 1) if "chance" in item else "",
            views_and_crops(item),
            percent(item["calibration"]["expected_calibration_error"], 1) if item.get("calibration") else "",
        )
        for split, item in found.items()
    ]
    sentences = {split: " ".join(notes_of(split, item)) for split, item in found.items()}
    notes = [element("p", text, class_="note") for text in sentences.values() if text]
    return element("div", table("Accuracy by split", columns, rows), notes)


def views_and_crops(item: dict[str, Any]) -> str:
    """`10 x 3`; what is not recorded is not said."""
    views, crops = item.get("views"), item.get("crops")
    if crops is None:
        return ""
    return f"{'all' if views is None else views} \N{MULTIPLICATION SIGN} {crops}"


def notes_of(split: str, item: dict[str, Any]) -> list[str]:
    """Sentences that belong to one evaluation's figures."""
    notes = []
    if item.get("caution"):
        notes.append(f"Caution, {split}: {item['caution']}.")
    if item.get("top5") is not None and top5_is_certain(len(item["labels"])):
        notes.append(f"Top-5, {split}: always 100 %, because there are only {len(item['labels'])} labels.")
    if item.get("selection"):
        notes.append(f"Weights, {split}: {item['selection']}.")
    bootstrap = item.get("bootstrap") or {}
    if bootstrap.get("accuracy"):
        unit = bootstrap.get("unit", "clip")
        notes.append(
            f"Top-1 by the bootstrap, {split}: {interval(bootstrap['accuracy'])} ({bootstrap.get('resamples', 0):,} "
            f"resamples of {counted(bootstrap.get('units', 0), unit, f'{unit}s')}, seed {bootstrap.get('seed')}); the "
            "intervals of the table are Wilson's."
        )
    return notes


def per_label(item: dict[str, Any]) -> Markup:
    """Accuracy of each label with its interval, worst first where there are many."""
    rows = item["per_class"]
    many = len(rows) > LABELS_SHOWN_OPEN
    measured = [row for row in rows if row.get("accuracy") is not None]
    ordered = sorted(measured, key=lambda row: row["accuracy"]) if many else measured
    body = [
        (
            row["label"],
            element("span", class_="bar", style=f"--share:{row['accuracy']:.4f}"),
            percent(row["accuracy"], 1),
            interval(row.get("interval"), 0),
            f"{row['clips']:,}",
        )
        for row in ordered
    ]
    columns = (("Label", None), ("", "bar-cell"), ("Right", NUMBER), ("95 % interval", NUMBER), ("Clips", NUMBER))
    content = table(f"Clips named right, by true label{', worst first' if many else ''}", columns, body)
    without = [row["label"] for row in rows if row.get("accuracy") is None]
    note = f"Without a clip in this split: {', '.join(without)}." if without else ""
    inside = [content, element("p", note, class_="note") if note else None]
    return (
        element("details", element("summary", f"All {len(ordered)} labels"), inside) if many else element("div", inside)
    )


def calibration(found: dict[str, Any]) -> Markup:
    """Whether the model is right as often as it says."""
    bins = found["bins"]
    error = percent(found["expected_calibration_error"], 1)
    explanation = element(
        "p",
        "Clips are sorted by the probability of the label that the model names. Columns: share that is right. On the "
        f"dashed line the model is right as often as it says. Mean distance from it: {error} (expected calibration "
        "error).",
    )
    edges = (*(item["low"] for item in bins), bins[-1]["high"])
    counts = tuple(item["clips"] for item in bins)
    panels = [
        ("How often it is right", reliability_diagram(bins, f"Reliability diagram; calibration error {error}")),
        (
            "How many clips",
            histogram(tuple(round(edge, 2) for edge in edges), counts, "probability", "Clips by named probability"),
        ),
    ]
    figures = [
        element("figure", element("figcaption", element("span", title)), chart, class_="panel")
        for title, chart in panels
    ]
    scores = [
        f"{name}: {found[key]:.3f}"
        for name, key in (("Brier score", "brier"), ("negative log-likelihood", "negative_log_likelihood"))
        if found.get(key) is not None
    ]
    note = element("p", "; ".join(scores) + ".", class_="note") if scores else None
    return element("div", explanation, element("div", figures, class_="panels"), note)

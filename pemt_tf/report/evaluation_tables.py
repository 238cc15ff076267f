"""Tables of a classifier's evaluations and sentences about them, for the report and for the model card."""

from __future__ import annotations

from typing import Any

from pemt_tf.evaluation.intervals import top5_is_certain
from pemt_tf.report.several_tables import LABELS_SHOWN_OPEN, is_several, label_precisions, several_notes, split_table
from pemt_tf.report.tables import Bar, Measured, Number, Table, interval
from pemt_tf.report.wording import counted, percent


def evaluation_table(evaluations: dict[str, dict[str, Any]]) -> Table:
    """A row for each split that was evaluated; of several labels a clip, see `several_tables`."""
    if any(map(is_several, evaluations.values())):
        return split_table({split: item for split, item in evaluations.items() if is_several(item)})
    columns = (
        "Split",
        Number("Clips"),
        "Top-1, 95 % interval",
        "Top-5, 95 % interval",
        Number("Chance"),
        Number("Views \N{MULTIPLICATION SIGN} crops"),
        Number("Calibration error"),
    )
    rows = [
        (
            split,
            f"{item['clips']:,}",
            Measured(item["accuracy"], item["interval"]),
            Measured(item.get("top5"), item.get("top5_interval")),
            percent(item["chance"], 1) if "chance" in item else "",
            _views_and_crops(item),
            percent(item["calibration"]["expected_calibration_error"], 1) if item.get("calibration") else "",
        )
        for split, item in evaluations.items()
    ]
    return Table("Accuracy by split", columns, rows)


def evaluation_notes(split: str, item: dict[str, Any]) -> list[str]:
    """Sentences that belong to one evaluation's figures."""
    notes = []
    if item.get("caution"):
        notes.append(f"Caution, {split}: {item['caution']}.")
    notes += several_notes(split, item) if is_several(item) else []
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


def label_accuracies(item: dict[str, Any]) -> dict[str, Any] | None:
    """The `table` of each label's accuracy, lowest first where there are many, and the labels `without` a clip.

    `is_long` says whether the page folds it away. None where the evaluation has no accuracies of labels.
    """
    if is_several(item):
        return label_precisions(item)
    if not item.get("per_class"):
        return None
    rows = [row for row in item["per_class"] if row.get("accuracy") is not None]
    is_long = len(item["per_class"]) > LABELS_SHOWN_OPEN
    if is_long:
        rows.sort(key=lambda row: row["accuracy"])
    cells = [
        (
            row["label"],
            Bar(row["accuracy"]),
            percent(row["accuracy"], 1),
            interval(row.get("interval"), 0),
            f"{row['clips']:,}",
        )
        for row in rows
    ]
    columns = ("Label", "", Number("Accuracy"), Number("95 % interval"), Number("Clips"))
    caption = f"Accuracy by true label{', lowest first' if is_long else ''}"
    without = [row["label"] for row in item["per_class"] if row.get("accuracy") is None]
    return {"table": Table(caption, columns, cells), "is_long": is_long, "without": ", ".join(without)}


def _views_and_crops(item: dict[str, Any]) -> str:
    """`10 x 3`; empty where it was not recorded."""
    views, crops = item.get("views"), item.get("crops")
    if crops is None:
        return ""
    return f"{'all' if views is None else views} \N{MULTIPLICATION SIGN} {crops}"

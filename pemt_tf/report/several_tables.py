"""Tables of evaluations of several labels a clip, for the report and for the model card."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pemt_tf.report.tables import Bar, Measured, Number, Table, interval
from pemt_tf.report.wording import counted, percent

# Fields that say that an evaluation is of several labels a clip, and which of them every one has.
PRECISION = "mean_average_precision"
FIELDS = ("split", "labels", "clips", PRECISION, "interval", "chance")
LABELS_SHOWN_OPEN = 40


def is_several(item: dict[str, Any]) -> bool:
    """Whether an evaluation is of several labels a clip."""
    return PRECISION in item


def split_table(evaluations: dict[str, dict[str, Any]]) -> Table:
    """A row for each split that was evaluated, and for each modality alone."""
    columns = (
        "Split",
        "Modality",
        Number("Clips"),
        "Mean average precision, 95 % interval",
        Number("Chance"),
        Number("AUC"),
        Number("d'"),
    )
    rows = []
    for split, item in evaluations.items():
        alone = item.get("modalities") or {}
        rows.append(_row(split, "both" if alone else "", item))
        rows += [_row(split, f"{name} alone", found) for name, found in alone.items()]
    return Table("Figures by split", columns, rows)


def _row(split: str, modality: str, item: dict[str, Any]) -> tuple:
    chance = item.get("chance")
    return (
        split,
        modality,
        f"{item['clips']:,}",
        Measured(item[PRECISION], item.get("interval")),
        "" if chance is None else percent(chance, 1),
        decimals(item.get("auc"), 3),
        decimals(item.get("d_prime"), 2),
    )


def several_notes(split: str, item: dict[str, Any]) -> list[str]:
    """Sentences that belong to the figures of a split."""
    notes = []
    for number, what in ((item.get("without_positive"), "no clip"), (item.get("without_negative"), "every clip")):
        if number:
            figures = "none of the figures" if what == "no clip" else "no AUC"
            notes.append(f"{counted(number, 'label fits', 'labels fit')} {what} of the split {split}: {figures}.")
    bootstrap = item.get("bootstrap") or {}
    if bootstrap.get("resamples"):
        unit = bootstrap.get("unit", "clip")
        notes.append(
            f"Interval, {split}: {bootstrap['resamples']:,} bootstrap resamples of "
            f"{counted(bootstrap.get('units', 0), unit, f'{unit}s')}, seed {bootstrap.get('seed')}."
        )
    return notes


def label_table(item: dict[str, Any], caption: str) -> Table:
    """A row for each label that a clip has; lowest first where there are many."""
    alone = {name: _precisions(found) for name, found in (item.get("modalities") or {}).items()}
    rows = [row for row in item.get("per_class") or () if row.get("average_precision") is not None]
    if len(rows) > LABELS_SHOWN_OPEN:
        rows.sort(key=lambda row: row["average_precision"])
        caption += ", lowest first"
    cells = [
        (
            row["label"],
            Bar(row["average_precision"]),
            percent(row["average_precision"], 1),
            *(_share(found.get(row["label"])) for found in alone.values()),
            decimals(row.get("auc"), 3),
            decimals(row.get("d_prime"), 2),
            f"{row['clips']:,}",
        )
        for row in rows
    ]
    titles = [Number(f"{name[:1].upper()}{name[1:]} alone") for name in alone]
    columns = ("Label", "", Number("Average precision"), *titles, Number("AUC"), Number("d'"), Number("Clips"))
    return Table(caption, columns, cells)


def label_precisions(item: dict[str, Any]) -> dict[str, Any] | None:
    """What the report's section on labels shows; None where there are no figures of labels."""
    if not item.get("per_class"):
        return None
    without = [row["label"] for row in item["per_class"] if row.get("average_precision") is None]
    table = label_table(item, "Average precision by label")
    return {"table": table, "is_long": len(item["per_class"]) > LABELS_SHOWN_OPEN, "without": ", ".join(without)}


def figure_details(item: dict[str, Any]) -> list[str]:
    """What stands beside the mean average precision at the head of a report."""
    details = [f"95 % interval {interval(item['interval'])}"] if item.get("interval") else []
    details += [f"chance {percent(item['chance'], 1)}"] if item.get("chance") is not None else []
    details += [f"AUC {decimals(item.get('auc'), 3)}"] if item.get("auc") is not None else []
    return details + ([f"d' {decimals(item.get('d_prime'), 2)}"] if item.get("d_prime") is not None else [])


def decimals(value: float | None, digits: int) -> str:
    """A number; empty where there is none."""
    return "" if value is None else f"{value:.{digits}f}"


def _precisions(item: dict[str, Any]) -> dict[str, float | None]:
    rows: Iterable[dict[str, Any]] = item.get("per_class") or ()
    return {row["label"]: row.get("average_precision") for row in rows}


def _share(value: float | None) -> str:
    return "" if value is None else percent(value, 1)

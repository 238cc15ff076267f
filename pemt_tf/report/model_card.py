"""`MODEL_CARD.md` of a run, with the fields of Mitchell et al., Model Cards for Model Reporting (FAT* 2019).

What the run does not know is called not known. Nothing is filled in on the user's behalf.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, Template

from pemt_tf import __version__
from pemt_tf.data.dataset_card import DatasetCard
from pemt_tf.models.parameter_report import ParameterReport
from pemt_tf.report.evaluation_tables import evaluation_notes, evaluation_table
from pemt_tf.report.page import PACKAGE
from pemt_tf.report.probe_tables import features_in_words, probe_tables
from pemt_tf.report.run_commands import all_commands, measuring_command, preset_changes
from pemt_tf.report.run_files import RunFiles
from pemt_tf.report.several_tables import is_several, label_table
from pemt_tf.report.tables import Bar, Code, Measured, Table
from pemt_tf.report.wording import counted, geometry_in_words

_MARKUP = re.compile(r"([\\`*_{}\[\]<>#|~!&])")
LABELS_NAMED = 60


class Markdown(str):
    """Text that is Markdown already."""

    __slots__ = ()


def model_card(files: RunFiles, parameters: ParameterReport, card: DatasetCard | None) -> str:
    """The card as Markdown, of a run, its model's parameters and its data's card, if known."""
    changes = preset_changes(files.config)
    split = card.splits.get(files.description.get("split") or "") if card else None
    return _template().render(
        run=files,
        model=files.config.model,
        about=files.description,
        parameters=parameters,
        version=__version__,
        dataset=card,
        split=split,
        changes=changes,
        geometry=geometry_in_words(files.config.geometry),
        labels=files.description.get("labels") or [],
        most_labels=LABELS_NAMED,
        several=files.config.finetune.several,
        evaluations=evaluation_table(files.evaluations),
        label_table=_label_table(files),
        notes=[note for split, item in files.evaluations.items() for note in evaluation_notes(split, item)],
        probes=[(split, features_in_words(probe), probe_tables(split, probe)) for split, probe in files.probes.items()],
        commands=_fenced([" ".join(command.split()) for command in all_commands(files, card)]),
        settings=Table("", ("Setting", "Preset", "This run"), [tuple(map(Code, change)) for change in changes or ()]),
        evaluate=measuring_command("evaluate", files),
        probe=measuring_command("probe", files),
    )


def plain(text: Any) -> Markdown:
    """Text that Markdown shows as it is, on one line."""
    return Markdown(_MARKUP.sub(r"\\\1", " ".join(str(text).split())))


def code(text: Any) -> Markdown:
    """Text as code, on one line, whatever backticks it holds."""
    line = " ".join(str(text).split())
    ticks = "`" * (max((len(run) for run in re.findall("`+", line)), default=0) + 1)
    return Markdown(f"{ticks} {line} {ticks}" if "`" in line else f"{ticks}{line}{ticks}")


def grid(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Markdown:
    """A table; cells that are not `Markdown` are escaped."""
    lines = [columns, [Markdown("---")] * len(columns), *rows]
    return Markdown("\n".join(f"| {' | '.join(map(_escaped, line))} |" for line in lines))


def _escaped(value: Any) -> Markdown:
    if value is None or isinstance(value, Markdown):
        return value or Markdown("")
    return code(value) if isinstance(value, Code) else plain(value)


@functools.cache
def _template() -> Template:
    # Whatever the template is given comes out escaped. Fields that a run lacks are false in it.
    environment = Environment(
        loader=PackageLoader(PACKAGE),
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_escaped,
    )
    environment.filters |= {"code": code, "grid": lambda table: grid(table.columns, table.rows)}
    environment.globals |= {"counted": counted}
    return environment.get_template("model_card.md")


def _label_table(files: RunFiles) -> Table | None:
    for split, item in files.evaluations.items():
        if is_several(item) and item.get("per_class"):
            table = label_table(item, f"By label, {split} split")
            columns = [title for title in table.columns if title]
            return Table(
                table.caption, columns, [[cell for cell in row if not isinstance(cell, Bar)] for row in table.rows]
            )
        if item.get("per_class"):
            rows = [
                (row["label"], f"{row['clips']:,}", Measured(row.get("accuracy"), row.get("interval")))
                for row in item["per_class"]
            ]
            return Table(f"By label, {split} split", ("Label", "Clips", "Accuracy, 95 % interval"), rows)
    return None


def _fenced(lines: list[str]) -> Markdown:
    text = "\n".join(lines)
    fence = "`" * max(3, *(len(run) + 1 for run in re.findall("`+", text + "``")))
    return Markdown(f"{fence}\n{text}\n{fence}")

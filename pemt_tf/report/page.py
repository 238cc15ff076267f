"""Builds pages and writes them: one HTML file each, which fetches nothing, not even scripts or fonts."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from pemt_tf.files.whole_file import write_text
from pemt_tf.report import charts, images
from pemt_tf.report.contents import KeyFigure, Report
from pemt_tf.report.wording import counted, duration, percent

STYLE_SHEET = Path(__file__).with_name("report.css")
# Pages fetch nothing; with this policy the browser enforces it.
CONTENT_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
PACKAGE = "pemt_tf.report"


@dataclass(frozen=True)
class Section:
    """One section of a page; an empty one is left out."""

    anchor: str  # its id, to which the list of sections links
    title: str
    template: str  # name of the template that shows it
    content: Any  # plain data, which the template calls `it`


@functools.cache
def templates(package: str = PACKAGE) -> Environment:
    """The templates of a package, and those of this one. All text that they are given comes out escaped."""
    loader = ChoiceLoader([PackageLoader(package), PackageLoader(PACKAGE)])
    environment = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: "" if value is None else value,
    )
    environment.filters |= {
        "curve_panels": charts.curve_panels,
        "duration": duration,
        "jpeg_uri": images.jpeg_uri,
        "percent": percent,
        "spectrogram_uris": lambda clip: [] if clip.log_mel is None else images.spectrogram_uris(clip.log_mel),
        "tenths": "{:.1f}".format,
    }
    environment.globals |= {"counted": counted, "style_sheet": asset(STYLE_SHEET), "policy": CONTENT_POLICY}
    environment.globals |= {name: getattr(charts, name) for name in ("WIDTH", "LEFT", "RIGHT", "TOP", "BOTTOM")}
    return environment


def asset(path: Path) -> Markup:
    """A style sheet or a script of ours, which a page holds as it is."""
    return Markup(path.read_text(encoding="utf-8"))


def document(
    title: str,
    subtitle: str,
    key_figures: Sequence[KeyFigure],
    sections: Iterable[Section],
    footer: str = "",
    package: str = PACKAGE,
) -> str:
    """A whole page; empty parts are left out. `package` is the one whose templates the sections name."""
    shown = [section for section in sections if section.content]
    page = templates(package).get_template("page.html")
    return page.render(title=title, subtitle=subtitle, key_figures=key_figures, sections=shown, footer=footer) + "\n"


def page(report: Report) -> str:
    """The page of the demo."""
    sections = (
        Section("result", "Result", "comparison.html", report.comparison),
        Section("about", "What this is, and what it is not", "notes.html", report.notes),
        Section("clips", "What the model sees and hears", "clips.html", report.clips),
        Section("preprocessing", "Outcomes of the input files", "preprocessing.html", report.preprocessing),
        Section("parameters", "The model", "parameters.html", report.parameters),
        Section("curves", "Training", "curves.html", report.curves),
        Section("confusion", "Which labels are confused", "confusion.html", _confusion(report)),
        Section("predictions", "Predictions on held-out files", "predictions.html", report.predictions),
        Section("neighbours", "Nearest clips", "neighbours.html", _with_note(rows=report.neighbours)),
        Section("commands", "The commands", "commands.html", _with_note(runs=report.commands)),
    )
    return document(report.title, report.subtitle, report.key_figures, sections, report.footer)


def write_report(path: Path, report: Report) -> Path:
    """Writes the page of the demo; an old file is replaced as a whole."""
    return write_text(path, page(report))


def _confusion(report: Report) -> dict[str, Any] | None:
    return report.confusion and {"matrix": report.confusion, "per_label": True, "about": ""}


def _with_note(about: str = "", **content: Sequence[Any]) -> dict[str, Any]:
    return {**content, "about": about} if all(content.values()) else {}

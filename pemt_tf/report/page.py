"""Builds the page and writes it: one HTML file that asks for nothing else, not even scripts or fonts."""

from __future__ import annotations

from pathlib import Path

from pemt_tf.files.whole_file import write_text
from pemt_tf.report import clip_sections, result_sections
from pemt_tf.report.contents import KeyFigure, Report
from pemt_tf.report.markup import Markup, element

Section = tuple[str, str, Markup]  # anchor, title, content

STYLE_SHEET = Path(__file__).with_name("report.css")
# The page promises to fetch nothing; with this policy the browser enforces it.
CONTENT_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def write_report(path: Path, report: Report) -> Path:
    """Writes the report.

    Args:
        path: of the HTML file; replaced as a whole if it exists.
        report: what to say.

    Returns:
        The path.

    Raises:
        PemtError: the file cannot be written.
    """
    return write_text(path, page(report))


def page(report: Report) -> str:
    """The whole document of a run's report."""
    return document(report.title, report.subtitle, report.key_figures, sections(report), report.footer)


def document(
    title: str, subtitle: str, key_figures: tuple[KeyFigure, ...], contents: list[Section], footer: str = ""
) -> str:
    """A whole document: a header, sections with links to them, and a closing line; what is empty does not appear."""
    style = Markup(STYLE_SHEET.read_text(encoding="utf-8"))
    links = [element("li", element("a", name, href=f"#{anchor}")) for anchor, name, _ in contents]
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=CONTENT_POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("link", rel="icon", href="data:,"),
        element("title", title),
        element("style", style),
    )
    header = element(
        "header",
        element("h1", title),
        element("p", subtitle, class_="subtitle") if subtitle else None,
        result_sections.key_figures(key_figures) if key_figures else None,
        element("nav", element("ul", links), aria_label="Sections") if len(contents) > 1 else None,
    )
    main = element("main", [_section(*section) for section in contents])
    closing = element("footer", footer) if footer else None
    return "<!DOCTYPE html>\n" + element("html", head, element("body", header, main, closing), lang="en") + "\n"


def sections(report: Report) -> list[Section]:
    """Every section that has something to say, in the order of the page."""
    notes = [element("p", note) for note in report.notes]
    candidates = [
        ("result", "Result", report.comparison, result_sections.comparison),
        ("about", "What this is, and what it is not", report.notes, lambda _: element("div", notes, class_="prose")),
        ("clips", "What the model sees and hears", report.clips, clip_sections.contact_sheet),
        ("preprocessing", "What became of the files", report.preprocessing, result_sections.preprocessing),
        ("parameters", "The model", report.parameters, result_sections.parameters),
        ("curves", "Training", report.curves, result_sections.curves),
        ("confusion", "Which labels are confused", report.confusion, result_sections.confusion),
        ("predictions", "Predictions on held-out files", report.predictions, clip_sections.predictions),
        ("neighbours", "Nearest clips", report.neighbours, clip_sections.neighbour_lists),
        ("commands", "The commands", report.commands, result_sections.commands),
    ]
    return [(anchor, title, build(content)) for anchor, title, content, build in candidates if content]


def _section(anchor: str, title: str, content: Markup) -> Markup:
    heading = f"{anchor}-title"
    return element("section", element("h2", title, id=heading), content, id=anchor, aria_labelledby=heading)

"""A self-contained HTML page of what a search found: each clip's frames and spectrogram, or a plain row."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pemt_tf.files.whole_file import write_text
from pemt_tf.report.clip_sections import strip
from pemt_tf.report.contents import ClipView
from pemt_tf.report.markup import Markup, element
from pemt_tf.report.page import document


@dataclass(frozen=True, eq=False)
class GalleryClip:
    """The query or a found clip.

    Attributes:
        clip_id, path: which clip of which file.
        start, end: seconds; None where unknown.
        label: empty without one.
        similarity: cosine to the query; None for the query itself.
        view: what there is to see; None where neither the file nor the record can be read.
    """

    clip_id: str
    path: str
    start: float | None = None
    end: float | None = None
    label: str = ""
    similarity: float | None = None
    view: ClipView | None = None


@dataclass(frozen=True)
class Gallery:
    """What the page says: the query, the hits, best first, and a sentence about where they are from."""

    query: GalleryClip
    hits: tuple[GalleryClip, ...]
    about: str = ""


def write_gallery(path: Path, gallery: Gallery) -> Path:
    """Writes the page; a file that is there is replaced as a whole.

    Raises:
        PemtError: the file cannot be written.
    """
    return write_text(path, gallery_page(gallery))


def gallery_page(gallery: Gallery) -> str:
    """The whole document."""
    title = f"Clips like {Path(gallery.query.path).name or gallery.query.clip_id}"
    hits = element("ol", [element("li", _clip(hit)) for hit in gallery.hits], class_="prediction-list")
    sections = [("query", "Asked for", _clip(gallery.query)), ("hits", "Most similar first", hits)]
    return document(title, gallery.about, (), sections)


def _clip(clip: GalleryClip) -> Markup:
    nothing = element("p", "Neither the file nor its record can be read here.", class_="empty")
    picture = strip(clip.view) if clip.view is not None else nothing
    label = element("span", clip.label or "no label", class_="label" if clip.label else "label none")
    if clip.similarity is None and not clip.label:
        label = None  # of a file that was asked for nobody knows a label
    lines = [element("figcaption", label, element("span", clip.clip_id, class_="clip-id"))]
    if clip.similarity is not None:
        lines.append(_similarity(clip.similarity))
    place = clip.path
    if clip.start is not None and clip.end is not None:
        place = f"{clip.path}, {clip.start:.2f} to {clip.end:.2f} s"
    lines.append(element("p", place, class_="note"))
    return element("figure", picture, element("div", lines), class_="prediction")


def _similarity(value: float) -> Markup:
    share = f"{min(max(value, 0.0), 1.0):.4f}"
    row = element(
        "tr",
        element("th", "similarity", scope="row"),
        element("td", element("span", class_="bar", style=f"--share:{share}"), class_="bar-cell"),
        element("td", f"{value:.3f}", class_="number"),
    )
    return element("table", element("tbody", row), class_="scores")

"""The page of a search: each clip's frames and spectrogram, or a plain row where they cannot be read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pemt_tf.files.whole_file import write_text
from pemt_tf.report.contents import ClipView
from pemt_tf.report.page import Section, document
from pemt_tf.report.tables import Bar


@dataclass(frozen=True, eq=False)
class GalleryClip:
    """The query or a found clip."""

    clip_id: str
    path: str
    start: float | None = None  # seconds; None where unknown
    end: float | None = None
    label: str = ""
    similarity: float | None = None  # cosine to the query; None for the query itself
    view: ClipView | None = None  # None where neither the file nor the record can be read

    @property
    def bar(self) -> Bar:
        """The similarity as a bar."""
        return Bar(self.similarity or 0.0)


@dataclass(frozen=True)
class Gallery:
    """The query, the hits, best first, and a sentence about what was searched."""

    query: GalleryClip
    hits: tuple[GalleryClip, ...]
    about: str = ""


def write_gallery(path: Path, gallery: Gallery) -> Path:
    """Writes the page; an old file is replaced as a whole."""
    return write_text(path, gallery_page(gallery))


def gallery_page(gallery: Gallery) -> str:
    """The whole page."""
    title = f"Clips like {Path(gallery.query.path).name or gallery.query.clip_id}"
    sections = (
        Section("query", "Query", "gallery_query.html", gallery.query),
        Section("hits", "Most similar first", "gallery_hits.html", gallery.hits),
    )
    return document(title, gallery.about, (), sections)

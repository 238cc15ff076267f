"""Builds the page of a map: one HTML file with its scripts, data and pictures, which fetches nothing."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path

from pemt_tf.explore.page_data import Explorer, clip_data, picture_data, script_json
from pemt_tf.files.whole_file import write_text
from pemt_tf.report.page import asset, templates

ASSETS = Path(__file__).with_name("assets")
# In this order: each uses those before it.
SCRIPTS = (
    "clip_table.js",
    "point_grid.js",
    "map_view.js",
    "markers.js",
    "map_drawing.js",
    "legend.js",
    "player.js",
    "details.js",
    "search_box.js",
    "map_input.js",
    "explorer.js",
)


def write_explorer(path: Path, explorer: Explorer) -> Path:
    """Writes the page; an old file is replaced as a whole."""
    return write_text(path, explorer_page(explorer), make_folder=True)


def explorer_page(explorer: Explorer) -> str:
    """The whole page."""
    scripts = [asset(ASSETS / name) for name in SCRIPTS]
    page = templates("pemt_tf.explore").get_template("explorer.html")
    return page.render(
        title=explorer.title,
        clips=explorer.points.count,
        total=explorer.points.total,
        projection=explorer.projection.about,
        notes=explorer.notes,
        policy=_policy(scripts),
        explore_style=asset(ASSETS / "explore.css"),
        data=(("clip-data", script_json(clip_data(explorer))), ("picture-data", script_json(picture_data(explorer)))),
        scripts=scripts,
    )


def _policy(scripts: Sequence[str]) -> str:
    """Allows no request, no script but ours, and media files only from the page's place or from this machine."""
    digests = (hashlib.sha256(script.encode()).digest() for script in scripts)
    hashes = " ".join(f"'sha256-{base64.b64encode(digest).decode('ascii')}'" for digest in digests)
    return f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; media-src 'self' file:; script-src {hashes}"

"""Builds the page of a map: one HTML file with its script, its data and its pictures, that asks for nothing else."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

from pemt_tf.explore.explorer import Explorer
from pemt_tf.explore.page_data import clip_data, picture_data, script_json
from pemt_tf.files.whole_file import write_text
from pemt_tf.report.markup import Markup, element
from pemt_tf.report.page import STYLE_SHEET
from pemt_tf.report.wording import counted

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
KEYS = (
    ("arrows", "to the next clip in that direction"),
    ("Enter", "show its neighbours"),
    ("+ - 0", "zoom, see everything"),
    ("/", "search"),
    ("Esc", "close"),
)


def write_explorer(path: Path, explorer: Explorer) -> Path:
    """Writes the page; a file that is there is replaced as a whole.

    Raises:
        PemtError: the file cannot be written.
    """
    return write_text(path, explorer_page(explorer), make_folder=True)


def explorer_page(explorer: Explorer) -> str:
    """The whole document."""
    scripts = [(ASSETS / name).read_text(encoding="utf-8") for name in SCRIPTS]
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_policy(scripts)),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("link", rel="icon", href="data:,"),
        element("title", explorer.title),
        element("style", Markup(STYLE_SHEET.read_text(encoding="utf-8"))),
        element("style", Markup((ASSETS / "explore.css").read_text(encoding="utf-8"))),
    )
    data = [
        element("script", Markup(script_json(values)), type="application/json", id=name)
        for name, values in (("clip-data", clip_data(explorer)), ("picture-data", picture_data(explorer)))
    ]
    body = element(
        "body",
        _header(explorer),
        element("main", _legend(), _map(explorer), _details(explorer), class_="explore"),
        element("p", role="status", id="announcer", class_="visually-hidden"),
        element("noscript", element("p", "This page needs JavaScript. It is in the page itself; nothing is fetched.")),
        data,
        [element("script", Markup(script)) for script in scripts],
        class_="explore-page",
    )
    return "<!DOCTYPE html>\n" + element("html", head, body, lang="en") + "\n"


def _policy(scripts: list[str]) -> str:
    """No request to anywhere, no script but ours, media files from where the page is or from this machine."""
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode('ascii')}'" for script in scripts
    )
    return f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; media-src 'self' file:; script-src {hashes}"


def _header(explorer: Explorer) -> Markup:
    search = element(
        "div",
        element("label", "Find a clip by its id ", element("kbd", "/"), for_="search"),
        element(
            "input",
            id="search",
            type="search",
            autocomplete="off",
            spellcheck="false",
            role="combobox",
            aria_expanded="false",
            aria_autocomplete="list",
            aria_controls="suggestions",
        ),
        element("ul", id="suggestions", role="listbox", aria_label="Clips", hidden=True),
        class_="search",
    )
    shown = counted(explorer.points.count, "clip", "clips")
    total = explorer.points.total
    if explorer.points.count < total:
        shown = f"{shown} of {total:,}"
    subtitle = element("p", f"{shown}. {explorer.projection.about}", class_="subtitle")
    return element("header", element("div", element("h1", explorer.title), subtitle), search)


def _legend() -> Markup:
    heading = element("h2", "Labels", id="legend-title")
    everything = element("button", "Show all", type="button", id="show-all", hidden=True)
    legend = element("ul", id="legend", aria_labelledby="legend-title")
    return element("section", element("div", heading, everything, class_="row"), legend, class_="legend-box")


def _map(explorer: Explorer) -> Markup:
    overlay = element(
        "canvas",
        id="overlay",
        tabindex="0",
        role="application",
        aria_label=f"Map of {counted(explorer.points.count, 'clip', 'clips')}",
        aria_describedby="keys",
    )
    zoom = [
        element("button", sign, type="button", id=name, aria_label=meaning, title=meaning)
        for sign, name, meaning in (
            ("+", "zoom-in", "Zoom in"),
            ("−", "zoom-out", "Zoom out"),
            ("0", "zoom-all", "See everything"),
        )
    ]
    card = element("div", id="card", class_="card", aria_hidden="true", hidden=True)
    points = element("canvas", id="points", aria_hidden="true")
    return element("div", points, overlay, element("div", zoom, class_="zoom"), card, class_="map", id="map")


def _details(explorer: Explorer) -> Markup:
    keys = [element("div", element("dt", element("kbd", key)), element("dd", meaning)) for key, meaning in KEYS]
    welcome = element(
        "div",
        element("h2", "A clip and its neighbours"),
        element("p", "Point at a dot to see the clip. Click it to see the clips most like it, and to play it."),
        element("dl", keys, id="keys", class_="keys"),
        [element("p", note, class_="note") for note in explorer.notes],
        id="welcome",
    )
    clip = element("div", id="clip", hidden=True)
    return element("section", welcome, clip, id="details", class_="details", aria_label="Chosen clip")

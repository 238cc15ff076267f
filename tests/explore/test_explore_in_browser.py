"""The page in a real browser, with real events: pointer, wheel, keys, playback."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pemt_tf.explore.build import build_explorer
from pemt_tf.explore.options import ExploreOptions
from pemt_tf.explore.page import write_explorer
from pemt_tf.search.embedding_store import EmbeddingStore
from tests.chromium import BROWSER, Chromium
from tests.explore.conftest import HOSTILE, NAMES
from tests.fake_embeddings import rows_about, write_embeddings

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")

SHOWN_CARD = "document.getElementById('card').hidden ? '' : document.getElementById('card').innerText"
TITLE = "document.querySelector('#clip h2')?.innerText ?? ''"
FOCUSED = "document.activeElement.id || document.activeElement.className || document.activeElement.tagName"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Chromium(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture
def opened(browser, page):
    browser.open(page)
    yield browser
    assert browser.console == []
    assert all(address.startswith(("file:", "data:")) for address in browser.requests), browser.requests


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """3,000 clips of 40 labels in 30 directions."""
    root, random = tmp_path_factory.mktemp("large"), np.random.default_rng(0)
    vectors = random.normal(size=(30, 24))[np.arange(3000) % 30] + 0.3 * random.normal(size=(3000, 24))
    rows = [row | {"label": f"label {number % 40}"} for number, row in enumerate(rows_about(3000))]
    write_embeddings(root / "e", vectors.astype(np.float32), rows, per_file=3000)
    options = ExploreOptions(page=root / "page.html", projection="pca", neighbours=3)
    return write_explorer(root / "page.html", build_explorer(root / "e", options))


def place_of(browser, clip: int) -> tuple[float, float]:
    """Where a clip is in the window, by the test's own sum: the plane fills the smaller side of the map, less 24."""
    box = browser.value(
        "(({x, y, width, height}) => ({x, y, width, height}))(document.getElementById('map').getBoundingClientRect())"
    )
    x, y = browser.value(f"[explorer.table.x({clip}), explorer.table.y({clip})]")
    scale = (min(box["width"], box["height"]) - 48) / 2
    return box["x"] + box["width"] / 2 + scale * x, box["y"] + box["height"] / 2 - scale * y


def test_loads_with_every_clip_and_text_as_text(opened):
    assert opened.value("explorer.drawing.drawn") == 6
    assert opened.value("document.title") == "Clips of embeddings"
    legend = opened.value("[...document.querySelectorAll('#legend button')].map(b => b.innerText.split('\\n'))")
    assert legend == [["bell", "2"], ["dog", "2"], [HOSTILE, "1"], ["no label", "1"]]
    assert opened.value("document.querySelectorAll('img[src=x]').length") == 0


def test_a_mark_has_the_colour_of_its_label(browser, page):
    browser.open(page)
    opened = browser  # the browser remarks on reading pixels twice, which only this test does
    x, y = place_of(opened, 0)
    box = opened.value("(({x, y}) => [x, y])(document.getElementById('map').getBoundingClientRect())")
    at = f"{round(x - box[0])}, {round(y - box[1])}"
    pixel = f"[...document.getElementById('points').getContext('2d').getImageData({at}, 1, 1).data]"
    assert opened.value(pixel) == [0x2F, 0x33, 0x81, 255]  # the first colour on light ground
    opened.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    opened.frames(3)
    assert opened.value(pixel) == [0x57, 0xBC, 0xFF, 255]


def test_hover_shows_the_card_with_its_picture(opened):
    opened.until("explorer.table.pictures.size === 5")
    opened.move(*place_of(opened, 1))
    assert opened.value(SHOWN_CARD).split() == ["bell", NAMES[1]]
    opened.until("document.querySelector('#card img').naturalWidth === 224")
    assert opened.value("document.querySelector('#card img').naturalHeight") == 56 + 32
    opened.move(*place_of(opened, 3))  # pictures without sound
    opened.until("document.querySelector('#card img').naturalHeight === 56")
    opened.move(*place_of(opened, 5))
    assert "no picture" in opened.value(SHOWN_CARD)
    opened.move(640, 120)
    assert opened.value(SHOWN_CARD) == ""


def test_lines_lead_to_every_neighbour(opened):
    opened.value("explorer.choose(1); explorer.drawing.drawOverlay()")
    middles = """(({view, table, overlay}) => {
      const {data, width} = overlay.getContext('2d').getImageData(0, 0, overlay.width, overlay.height);
      return table.neighboursOf(1).map(({place}) => {
        const x = Math.round(view.pixelX((table.x(1) + table.x(place)) / 2));
        const y = Math.round(view.pixelY((table.y(1) + table.y(place)) / 2));
        let darkest = 255;
        for (let down = -2; down <= 2; down++) {
          for (let right = -2; right <= 2; right++) {
            darkest = Math.min(darkest, data[4 * ((y + down) * width + x + right)]);
          }
        }
        return darkest;
      });
    })(explorer.drawing)"""
    darkest = opened.value(middles)
    assert len(darkest) == 5 and max(darkest) < 200  # the veil alone is white


def test_click_opens_the_neighbours_in_order_and_they_lead_on(opened):
    opened.click(*place_of(opened, 1))  # at 10 degrees: 0 and 30 are next, then 90, 260, 180
    assert opened.value(TITLE) == NAMES[1]
    ids = "[...document.querySelectorAll('.near .clip-id')].map(e => e.innerText)"
    assert opened.value(ids) == [NAMES[each] for each in (0, 2, 3, 5, 4)]
    cosines = [float(text) for text in opened.value("[...document.querySelectorAll('.cosine')].map(e => e.innerText)")]
    assert cosines == [round(np.cos(np.radians(angle)), 2) for angle in (10, 20, 80, 110, 170)]
    opened.click_on(".near li:nth-child(2) button")
    assert opened.value(TITLE) == NAMES[2]
    assert opened.value(FOCUSED) == "clip-title"
    assert HOSTILE in opened.value("document.querySelector('#clip .facts').innerText")
    opened.click_on(".close")
    assert opened.value("[document.getElementById('clip').hidden, document.activeElement.id]") == [True, "overlay"]


@pytest.mark.parametrize(("clip", "kind"), [(0, "VIDEO"), (2, "VIDEO"), (4, "AUDIO")])
def test_plays_the_file(opened, clip, kind):
    opened.click(*place_of(opened, clip))
    opened.click_on(".play")
    player = "document.querySelector('.player video, .player audio')"
    opened.until(f"{player}.readyState > 0")
    assert opened.value(f"{player}.tagName") == kind
    assert opened.value(f"{player}.src").endswith("#t=0,1")
    assert opened.value(f"{player}.duration") == pytest.approx(1, abs=0.1)
    opened.until(f"{player}.currentTime > 0")


@pytest.mark.parametrize("clip", [3, 5])
def test_says_what_it_cannot_play(browser, page, clip):
    browser.open(page)
    browser.click(*place_of(browser, clip))
    browser.click_on(".play")
    browser.until("document.querySelector('.player [role=alert]') !== null")
    assert "This browser cannot play it" in browser.value("document.querySelector('.player').innerText")
    assert browser.value("document.querySelector('.player a').innerText") == NAMES[clip]
    assert not [line for line in browser.console if "ERR_FILE_NOT_FOUND" not in line]


def test_search_finds_by_keyboard_alone(opened):
    opened.key("/")
    assert opened.value("document.activeElement.id") == "search"
    opened.type("B/")
    options = "[...document.querySelectorAll('#suggestions li')].map(e => e.innerText)"
    assert opened.value(options) == list(NAMES[2:5])
    assert opened.value("document.getElementById('search').getAttribute('aria-expanded')") == "true"
    opened.key("ArrowDown")
    active = opened.value("document.getElementById('search').getAttribute('aria-activedescendant')")
    assert opened.value(f"document.getElementById('{active}').innerText") == NAMES[3]
    opened.key("Enter")
    assert opened.value(TITLE) == NAMES[3]
    opened.key("Escape")
    assert opened.value("[document.getElementById('clip').hidden, document.activeElement.id]") == [True, "overlay"]
    opened.key("/")
    opened.type("nothing like it")
    assert opened.value(options) == ["No clip on this map has such an id."]
    opened.key("Escape")
    expected = [True, "", "overlay"]
    state = "document.getElementById('suggestions').hidden, document.getElementById('search').value"
    assert opened.value(f"[{state}, document.activeElement.id]") == expected


def test_arrow_keys_walk_the_map_and_enter_opens(opened):
    opened.click_on("h1")
    for _ in range(20):
        opened.key("Tab")
        if opened.value("document.activeElement.id") == "overlay":
            break
    assert opened.value(SHOWN_CARD) != ""  # it starts somewhere
    x = "explorer.table.x(explorer.focused)"
    y = "explorer.table.y(explorer.focused)"
    for key, coordinate, sign in (("ArrowRight", x, 1), ("ArrowUp", y, 1), ("ArrowLeft", x, -1), ("ArrowDown", y, -1)):
        seen = [opened.value(coordinate)]
        for _ in range(6):
            opened.key(key)
            seen.append(opened.value(coordinate))
        steps = np.diff(seen) * sign
        assert (steps >= 0).all() and (steps[0] > 0 or (steps == 0).all()), (key, seen)
    at = opened.value("explorer.table.ids[explorer.focused]")
    assert at in opened.value("document.getElementById('announcer').innerText")
    opened.key("Enter")
    assert opened.value(TITLE) == at


def test_tab_order_and_names(opened):
    opened.click_on("h1")
    order = []
    for _ in range(9):
        opened.key("Tab")
        order.append(opened.value("document.activeElement.id || document.activeElement.innerText.split('\\n')[0]"))
        ring = opened.value("getComputedStyle(document.activeElement).outlineStyle")
        assert ring == "solid", order
    assert order == ["search", "bell", "dog", HOSTILE, "no label", "overlay", "zoom-in", "zoom-out", "zoom-all"]
    unnamed = """[...document.querySelectorAll('button, input, [role=application], [role=listbox]')].filter(e =>
      !(e.innerText?.trim() || e.ariaLabel || e.labels?.length)).map(e => e.outerHTML)"""
    assert opened.value(unnamed) == []


def test_neighbours_by_arrow_keys(opened):
    opened.click(*place_of(opened, 1))
    opened.value("document.querySelector('.near button').focus()")
    opened.key("ArrowDown")
    opened.key("ArrowDown")
    opened.key("ArrowUp")
    assert opened.value("document.activeElement.querySelector('.clip-id').innerText") == NAMES[2]
    opened.key("Enter")
    assert opened.value(TITLE) == NAMES[2]


def test_legend_hides_and_shows(opened):
    drawn = "explorer.drawing.drawn"
    opened.click_on("#legend li:nth-child(1) button")
    assert opened.value(drawn) == 4
    assert opened.value("document.querySelector('#legend button').getAttribute('aria-pressed')") == "false"
    opened.move(*place_of(opened, 1))
    assert opened.value(SHOWN_CARD) == ""  # what is hidden cannot be hit
    opened.click_on("#show-all")
    assert opened.value(drawn) == 6
    opened.send("Input.dispatchMouseEvent", type="mouseMoved", x=1, y=1)
    opened.value("document.querySelector('#legend button').dispatchEvent(new MouseEvent('dblclick'))")
    opened.frames()
    assert opened.value(drawn) == 2


def test_zoom_and_pan(opened):
    zoom = "explorer.view.zoom"
    x, y = place_of(opened, 3)
    opened.mouse("mouseWheel", x, y, deltaX=0, deltaY=-200)
    opened.until(f"{zoom} > 1.5")
    box = opened.value("(({x, y}) => [x, y])(document.getElementById('map').getBoundingClientRect())")
    seen = opened.value("[explorer.view.pixelX(explorer.table.x(3)), explorer.view.pixelY(explorer.table.y(3))]")
    assert [box[0] + seen[0], box[1] + seen[1]] == pytest.approx([x, y], abs=0.5)  # what is under the pointer stays
    opened.mouse("mousePressed", 600, 400, button="left", clickCount=1)
    opened.mouse("mouseMoved", 640, 430, button="left", buttons=1)
    opened.mouse("mouseReleased", 640, 430, button="left", clickCount=1)
    moved = opened.value("[explorer.view.pixelX(explorer.table.x(3)), explorer.view.pixelY(explorer.table.y(3))]")
    assert np.subtract(moved, seen) == pytest.approx([40, 30], abs=0.5)
    assert opened.value("document.getElementById('clip').hidden")  # a drag is no click
    opened.value("document.getElementById('overlay').focus()")
    before = opened.value(zoom)
    opened.key("+")
    assert opened.value(zoom) == pytest.approx(1.5 * before)
    opened.key("-")
    assert opened.value(zoom) == pytest.approx(before)
    opened.key("0")
    assert opened.value(f"[{zoom}, explorer.view.centerX, explorer.view.centerY]") == [1, 0, 0]


def test_hits_are_found_by_the_index_and_are_right(browser, large):
    """As many points as in a few cells are looked at, and the answer is that of a look at all of them."""
    browser.open(large)
    random = np.random.default_rng(1).uniform(-1, 1, (60, 2)).tolist()
    script = """((asked) => {
      const { grid, table } = explorer;
      return asked.map(([x, y]) => {
        const found = grid.nearest(x, y, 0.05, () => true);
        const { examined } = grid;
        let [best, distance] = [-1, 0.05];
        for (let place = 0; place < table.count; place++) {
          const away = Math.hypot(table.x(place) - x, table.y(place) - y);
          if (away <= distance) { [best, distance] = [place, away]; }
        }
        return [found, best, examined];
      });
    })(%s)"""
    answers = browser.value(script % json.dumps(random))
    assert [found for found, _, _ in answers] == [best for _, best, _ in answers]
    assert sum(found >= 0 for found, _, _ in answers) > 10
    assert np.mean([examined for _, _, examined in answers]) < 3000 / 20
    assert browser.value("explorer.drawing.drawn") == 3000
    browser.value("explorer.view.zoomAt(40, 500, 300); explorer.drawing.drawPoints()")
    assert browser.value("explorer.drawing.drawn") < 600  # only what is seen is drawn
    assert browser.value("document.querySelectorAll('#legend li').length") == 22  # 21 looks and the rest
    assert browser.console == []


@pytest.mark.parametrize(("width", "dark"), [(400, False), (400, True), (768, False), (1280, True)])
def test_nothing_overflows(browser, page, width, dark):
    browser.open(page, width=width, dark=dark)
    browser.click(*place_of(browser, 0))
    assert browser.value("document.documentElement.scrollWidth") <= width
    outside = "[...document.querySelectorAll('main *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1)"
    assert browser.value(outside + ".map(e => e.outerHTML)") == []
    assert browser.console == []


@pytest.mark.parametrize("count", [1, 2])
def test_one_clip_and_two(browser, tmp_path, count):
    write_embeddings(tmp_path / "e", np.ones((count, 3), np.float32))
    assert EmbeddingStore(tmp_path / "e").count == count
    options = ExploreOptions(page=tmp_path / "p.html", projection="pca")
    browser.open(write_explorer(tmp_path / "p.html", build_explorer(tmp_path / "e", options)))
    assert browser.value("explorer.drawing.drawn") == count
    browser.click(*place_of(browser, 0))
    # Both lie at the same place: the one on top is hit, and leads to the other.
    assert browser.value(TITLE) == f"clip-{count - 1}"
    words = browser.value("document.getElementById('clip').innerText")
    assert ("There is no other clip." in words) == (count == 1)
    assert browser.value("document.querySelectorAll('.near li').length") == count - 1
    assert browser.console == []

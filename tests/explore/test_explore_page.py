"""The page as text: nothing leaves its element, only our scripts may run, numbers come back as they were."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from pemt_tf.explore.build import build_explorer
from pemt_tf.explore.options import ExploreOptions
from pemt_tf.explore.page import ASSETS, SCRIPTS, explorer_page
from tests.explore.conftest import HOSTILE, HOSTILE_NAME, NAMES
from tests.fake_embeddings import rows_about, write_embeddings

WORST = (
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "]]>",
    "\u2028\u2029",
    '"\\',
    "\x00",
    "&lt;",
    "é\U0001f600",
)


class Scripts(HTMLParser):
    """Collects the script elements as a browser sees them, and the policy."""

    def __init__(self, text: str):
        super().__init__()
        self.found: list[tuple[dict, str]] = []
        self.policy, self.addresses, self._open = "", [], None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        about = dict(attributes)
        self.addresses += [about[name] for name in ("src", "href") if name in about]
        if tag == "script":
            self._open = about
            self.found.append((about, ""))
        if about.get("http-equiv"):
            self.policy = about["content"]

    def handle_endtag(self, tag):
        self._open = None

    def handle_data(self, data):
        if self._open is not None:
            self.found[-1] = (self._open, self.found[-1][1] + data)

    def data(self, name: str):
        return json.loads(next(text for about, text in self.found if about.get("id") == name))


def decoded(text: str, kind: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), kind)


@pytest.fixture(scope="module")
def scripts(page):
    return Scripts(page.read_text(encoding="utf-8"))


def test_only_our_scripts_may_run(scripts):
    code = [text for about, text in scripts.found if about.get("type") != "application/json"]
    assert code == [(ASSETS / name).read_text() for name in SCRIPTS]
    allowed = set(re.findall(r"'sha256-([^']+)'", scripts.policy))
    assert allowed == {base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in code}
    assert "default-src 'none'" in scripts.policy and "unsafe-inline" not in scripts.policy.split("script-src")[1]
    assert "http" not in scripts.policy and "connect-src" not in scripts.policy
    assert scripts.addresses == ["data:,"]


def test_every_script_is_in_the_page_and_closes_nothing():
    assert sorted(SCRIPTS) == sorted(path.name for path in ASSETS.glob("*.js"))
    for path in ASSETS.iterdir():
        text = path.read_text()
        assert not re.search(r"</(script|style)|<!--|innerHTML|outerHTML|insertAdjacentHTML|eval\(|https?://", text), (
            path
        )
        assert max(map(len, text.splitlines())) <= (320 if path.suffix == ".css" else 120), path


def test_texts_and_numbers_come_back(scripts, explorer):
    data = scripts.data("clip-data")
    assert data["ids"] == data["paths"] == list(NAMES) and HOSTILE_NAME in data["ids"][2]
    assert data["labelNames"] == [HOSTILE, "bell", "dog"]
    assert decoded(data["labels"], "<i4").tolist() == [1, 1, 0, 2, -1, 2]
    assert decoded(data["streams"], "u1").tolist() == [3, 3, 3, 1, 2, 3]
    assert decoded(data["times"], "<f8").tolist() == [0, 1] * 6
    np.testing.assert_array_equal(decoded(data["positions"], "<f4").reshape(-1, 2), explorer.projection.positions)
    assert data["neighbourCount"] == 5
    assert decoded(data["neighbours"], "<i4").reshape(6, 5)[0].tolist() == [1, 2, 3, 5, 4]
    cosines = decoded(data["cosines"], "<i2").reshape(6, 5) / 32767
    np.testing.assert_allclose(cosines[0], np.cos(np.radians([10, 30, 90, 100, 180])), atol=2e-5)
    pictures = scripts.data("picture-data")
    assert pictures["places"] == [0, 1, 2, 3, 4]
    assert all(base64.b64decode(jpeg)[:3] == b"\xff\xd8\xff" for jpeg in pictures["jpegs"])


def test_hostile_texts_everywhere(tmp_path):
    rows = rows_about(len(WORST))
    for row, text in zip(rows, WORST, strict=True):
        row |= {"id": text, "path": text, "label": text, "split": text}
    write_embeddings(tmp_path / "e", np.eye(len(WORST), dtype=np.float32), rows)
    explorer = build_explorer(tmp_path / "e", ExploreOptions(page=tmp_path / "p.html", projection="pca"))
    scripts = Scripts(explorer_page(explorer))
    assert len(scripts.found) == len(SCRIPTS) + 2
    data = scripts.data("clip-data")
    assert data["ids"] == data["paths"] == data["splits"] == list(WORST)
    assert data["labelNames"] == sorted(WORST)


def test_size_of_a_large_map(tmp_path):
    """4,000 clips without pictures: the numbers take 100 bytes a clip, ids and paths come on top."""
    count = 4_000
    vectors = np.random.default_rng(0).normal(size=(count, 4)).astype(np.float32)
    write_embeddings(tmp_path / "e", vectors, per_file=count)
    options = ExploreOptions(page=tmp_path / "p.html", projection="pca", picture_megabytes=0)
    text = explorer_page(build_explorer(tmp_path / "e", options))
    ids = sum(len(f"clip-{number}") + len(f"dog/{number // 2}.mp4") for number in range(count))
    assert len(text) < 170 * count + ids
    assert "Made without pictures" in text

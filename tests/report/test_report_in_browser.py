"""The page in a real browser: nothing to complain about on the console, nothing wider than a telephone."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from markupsafe import escape

from pemt_tf.config import Config
from pemt_tf.files.whole_file import write_text
from pemt_tf.report.page import CONTENT_POLICY, write_report
from pemt_tf.report.run_files import RunFiles
from pemt_tf.report.run_report import run_page
from tests.report.fake_run import PARAMETERS, write_results, write_run
from tests.report.test_run_report import held_out_clips

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")

MEASURE = """<script>addEventListener("load", () => parent.postMessage(JSON.stringify({
  width: innerWidth, needed: document.documentElement.scrollWidth,
  broken: [...document.images].filter(image => !image.naturalWidth).length, images: document.images.length}), "*"));
</script>"""
FRAMES = """<body><script>
const seen = [];
addEventListener("message", event => { seen.push(JSON.parse(event.data)); document.title = JSON.stringify(seen); });
</script>%s</body>"""


def run_browser(tmp_path: Path, page: Path) -> subprocess.CompletedProcess:
    switches = (
        "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
        "--disable-component-update --disable-sync --enable-logging=stderr --dump-dom --virtual-time-budget=5000"
    )
    command = [BROWSER, *switches.split(), f"--user-data-dir={tmp_path / 'profile'}", page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)


LONG_LABEL = "a_rather_long_label_without_any_space_in_it"


def demo_page(folder: Path, make) -> Path:
    return write_report(folder / "report.html", make(LONG_LABEL))


def run_report_page(folder: Path, make) -> Path:
    run = write_run(folder / "run_with_a_rather_long_name", Config.from_preset("tiny"), (LONG_LABEL, "cat"))
    write_results(run, (LONG_LABEL, "cat"))
    clip = make(LONG_LABEL).clips[0]
    clips = held_out_clips(lambda number, label, segments: dataclasses.replace(clip, clip_id=str(number)), LONG_LABEL)
    return write_text(folder / "report.html", run_page(RunFiles.read(run), PARAMETERS, None, clips))


def test_console_is_silent(tmp_path, sample_report):
    page = write_report(tmp_path / "report.html", sample_report())
    result = run_browser(tmp_path, page)
    assert "Ten digits" in result.stdout
    assert [line for line in result.stderr.splitlines() if "CONSOLE" in line] == []


@pytest.mark.parametrize("make_page", [demo_page, run_report_page])
def test_nothing_overflows_on_a_telephone_and_every_picture_loads(tmp_path, sample_report, make_page):
    text = make_page(tmp_path, sample_report).read_text(encoding="utf-8")
    policy = str(escape(CONTENT_POLICY))
    assert policy in text
    # The measuring script is the test's own; the page's policy would not let it run.
    (tmp_path / "measured.html").write_text(
        text.replace(policy, "").replace("</body>", MEASURE + "</body>"), encoding="utf-8"
    )
    widths = (360, 400, 768, 1600)
    frames = "".join(
        f'<iframe src="measured.html" style="border:0;width:{width}px;height:900px"></iframe>' for width in widths
    )
    (tmp_path / "frames.html").write_text(FRAMES % frames, encoding="utf-8")
    result = run_browser(tmp_path, tmp_path / "frames.html")
    measured = json.loads(re.search(r"<title>(.*?)</title>", result.stdout)[1])
    assert sorted(row["width"] for row in measured) == list(widths)
    for row in measured:
        assert row["needed"] <= row["width"], row
        assert row["images"] > 15 and row["broken"] == 0, row

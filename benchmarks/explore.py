"""How fluid the map of `pemt explore` is: milliseconds of a frame in headless Chromium, without a graphics processor.

    python benchmarks/explore.py [--clips 20000] [--frames 60]

Makes random embeddings in 30 groups, writes the page and opens it at 1280 x 800. Of each kind of work it prints the
fastest, the median and the 95th percentile (on a busy machine only the first says much): all points drawn anew, a hover
(search in the index and the overlay), an arrow key, a search by id. Before them what the page takes: bytes, and seconds
until the map is there.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pemt_tf.config import ClipGeometry
from pemt_tf.explore.build import build_explorer
from pemt_tf.explore.options import ExploreOptions
from pemt_tf.explore.page import write_explorer
from pemt_tf.search.embedding_card import CARD_NAME, EmbeddingCard
from pemt_tf.search.embedding_table import embedding_table

GROUPS, WIDTH = 30, 128
WORK = {
    "draw all points": "explorer.view.reset(); explorer.drawing.drawPoints()",
    "draw, zoomed in 8 times": "explorer.view.zoomAt(8 / explorer.view.zoom, 300, 300); explorer.drawing.drawPoints()",
    "hover": "explorer.hover(explorer.input.hit(150 + 7 * i, 200 + 5 * i)); explorer.drawing.drawOverlay()",
    "arrow key": "explorer.view.reset(); explorer.focused = i * 97 % explorer.table.count; explorer.step(1, 0)",
    "search by id": "explorer.table.find('clip-' + i, 12)",
}


# Runs in the page once it is loaded, and leaves what it measured as the only content of the document.
MEASURE = """addEventListener("load", () => {
  explorer.drawing.resize();
  const taken = {open: [performance.now()]};
  for (const [name, work] of Object.entries(WORK)) {
    const run = new Function("i", work);
    taken[name] = [];
    for (let i = 0; i < FRAMES + 5; i++) {
      const begin = performance.now();
      run(i);
      if (i >= 5) taken[name].push(performance.now() - begin);  // the first ones warm up
    }
  }
  document.body.textContent = JSON.stringify(taken);
});"""


def make_page(folder: Path, clips: int) -> Path:
    """The page of random embeddings."""
    random = np.random.default_rng(0)
    group = random.integers(0, GROUPS, clips)
    vectors = random.normal(size=(GROUPS, WIDTH))[group] * 1.2 + random.normal(size=(clips, WIDTH))
    about = {"start": 0.0, "end": 2.0, "split": "train", "has_video": True, "has_audio": True}
    rows = [
        about | {"id": f"clip-{number}", "path": f"{number}.mp4", "label": f"label {label}"}
        for number, label in enumerate(group)
    ]
    pq.write_table(embedding_table(rows, vectors), folder / "embeddings.parquet")
    card = EmbeddingCard(
        model="none",
        model_hash="a" * 64,
        vector_size=WIDTH,
        geometry=ClipGeometry(),
        files={"embeddings.parquet": clips},
        inputs=clips,
        written=clips,
        filtered={},
        failed={},
    )
    (folder / CARD_NAME).write_text(card.text(), encoding="utf-8")
    options = ExploreOptions(page=folder / "explore.html", projection="pca", limit=clips, picture_megabytes=0)
    return write_explorer(options.page, build_explorer(folder, options))


def measure(browser: str, page: Path, frames: int) -> dict[str, list[float]]:
    """Milliseconds of each repetition of each kind of work, by the page's own clock."""
    script = MEASURE.replace("WORK", json.dumps(WORK)).replace("FRAMES", str(frames))
    # The page's policy allows no script but its own.
    html = re.sub(r"<meta[^>]*Content-Security-Policy[^>]*>", "", page.read_text(encoding="utf-8"))
    measured = page.with_name("measured.html")
    measured.write_text(html.replace("</body>", f"<script>{script}</script></body>"), encoding="utf-8")
    switches = ["--headless", "--no-sandbox", "--disable-gpu", "--window-size=1280,800", "--dump-dom"]
    command = [browser, *switches, f"--user-data-dir={page.parent}/profile", measured.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    found = re.search(r"<body[^>]*>({.*})</body>", done.stdout)
    if not found:
        raise SystemExit(f"{browser} has measured nothing: {done.stderr.strip()[-500:]}")
    return json.loads(found[1])


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=20_000)
    parser.add_argument("--frames", type=int, default=60)
    options = parser.parse_args()
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        raise SystemExit("no Chromium on this machine; Debian and Ubuntu: apt-get install chromium")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        page = make_page(Path(folder), options.clips)
        figures = measure(browser, page, options.frames)
        (opened,) = figures.pop("open")
        size = page.stat().st_size / 1e6
    print(f"{options.clips:,} clips: page of {size:.1f} MB, open after {opened / 1000:.1f} s")
    for name, taken in figures.items():
        taken.sort()
        late, middle = taken[int(0.95 * len(taken))], statistics.median(taken)
        print(f"{name:<24} fastest {taken[0]:6.2f} ms, median {middle:6.2f} ms, 95 % below {late:6.2f} ms")


if __name__ == "__main__":
    main()

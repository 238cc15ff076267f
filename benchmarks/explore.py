"""How fluid the map of `pemt explore` is: milliseconds of a frame in headless Chromium, without a graphics processor.

    python benchmarks/explore.py [--clips 20000] [--frames 60]

Makes random embeddings in 30 groups, writes the page and opens it at 1280 x 800. Of each kind of work it prints the
fastest, the median and the 95th percentile (on a busy machine only the first says much): all points drawn anew, a hover
(search in the index and the overlay), an arrow key, a search by id. Before them what the page takes: bytes, and seconds
until the map is there.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pemt_tf.explore.build import build_explorer
from pemt_tf.explore.options import ExploreOptions
from pemt_tf.explore.page import write_explorer
from tests.chromium import BROWSER, Chromium
from tests.fake_embeddings import rows_about, write_embeddings

GROUPS, WIDTH = 30, 128
WORK = {
    "draw all points": "explorer.view.reset(); explorer.drawing.drawPoints()",
    "draw, zoomed in 8 times": "explorer.view.zoomAt(8 / explorer.view.zoom, 300, 300); explorer.drawing.drawPoints()",
    "hover": "explorer.hover(explorer.input.hit(150 + 7 * i, 200 + 5 * i)); explorer.drawing.drawOverlay()",
    "arrow key": "explorer.view.reset(); explorer.focused = i * 97 % explorer.table.count; explorer.step(1, 0)",
    "search by id": "explorer.table.find('clip-' + i, 12)",
}


def make_page(folder: Path, clips: int) -> Path:
    """The page of random embeddings."""
    random = np.random.default_rng(0)
    group = random.integers(0, GROUPS, clips)
    vectors = random.normal(size=(GROUPS, WIDTH))[group] * 1.2 + random.normal(size=(clips, WIDTH))
    rows = [row | {"label": f"label {number}"} for row, number in zip(rows_about(clips), group, strict=True)]
    write_embeddings(folder / "embeddings", vectors.astype(np.float32), rows, per_file=8000)
    options = ExploreOptions(page=folder / "explore.html", projection="pca", limit=clips, picture_megabytes=0)
    return write_explorer(options.page, build_explorer(folder / "embeddings", options))


def milliseconds(browser: Chromium, work: str, frames: int) -> list[float]:
    """Of each repetition, measured by the page's own clock; the first ones are not counted."""
    script = f"""(() => {{
      const taken = [];
      for (let i = 0; i < {frames + 5}; i++) {{
        const begin = performance.now();
        {work};
        taken.push(performance.now() - begin);
      }}
      return taken.slice(5);
    }})()"""
    return browser.value(script)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=20_000)
    parser.add_argument("--frames", type=int, default=60)
    options = parser.parse_args()
    if BROWSER is None:
        raise SystemExit("no Chromium on this machine; Debian and Ubuntu: apt-get install chromium")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        page = make_page(Path(folder), options.clips)
        with Chromium(Path(folder) / "profile") as browser:
            begin = time.perf_counter()
            browser.open(page)
            seconds = time.perf_counter() - begin
            print(f"{options.clips:,} clips: page of {page.stat().st_size / 1e6:.1f} MB, open after {seconds:.1f} s")
            for name, work in WORK.items():
                taken = sorted(milliseconds(browser, work, options.frames))
                late = taken[int(0.95 * len(taken))]
                middle = statistics.median(taken)
                print(f"{name:<24} fastest {taken[0]:6.2f} ms, median {middle:6.2f} ms, 95 % below {late:6.2f} ms")


if __name__ == "__main__":
    main()

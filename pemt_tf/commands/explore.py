"""`pemt explore`: writes a page with a map of all clips."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pemt_tf.commands.arguments import Commands, add_command, say
from pemt_tf.explore.options import USUAL_LIMIT, USUAL_MEGABYTES, USUAL_NEIGHBOURS, ExploreOptions
from pemt_tf.files.output_check import require_writable_file

SUMMARY = "write a page with a map of the clips, their neighbours, thumbnails and playback"
EXAMPLE = """pemt explore out/embeddings
  pemt explore out/embeddings --output map.html --data out/records --projection umap
  pemt explore out/embeddings --media /archive/videos --limit 50000 --picture-mb 100"""
PAGE = "explore.html"


def add(commands: Commands) -> None:
    add = add_command(commands, "explore", _run, SUMMARY, EXAMPLE).add_argument
    add("embeddings", help="folder written by beam_jobs.embed")
    add("--output", metavar="FILE", help=f"the page (default: {PAGE} in the folder of the embeddings)")
    add("--data", metavar="DIR", help="records to take thumbnails from (default: those that were embedded)")
    add("--media", metavar="DIR", help="folder of the media files, if it has moved (default: as the embeddings say)")
    add("--projection", choices=("pca", "umap"), help="how clips are laid out (default: umap if installed, else pca)")
    limit = f"at most N clips, a sample of more (default: {USUAL_LIMIT})"
    add("--limit", type=int, default=USUAL_LIMIT, metavar="N", help=limit)
    neighbours = f"neighbours of each clip (default: {USUAL_NEIGHBOURS})"
    add("--neighbours", type=int, default=USUAL_NEIGHBOURS, metavar="K", help=neighbours)
    megabytes = f"size of all thumbnails; 0: none (default: {USUAL_MEGABYTES:g})"
    add("--picture-mb", type=float, default=USUAL_MEGABYTES, metavar="MB", help=megabytes)


def _run(options: argparse.Namespace) -> None:
    from pemt_tf.explore.build import build_explorer
    from pemt_tf.explore.page import write_explorer

    page = Path(options.output or Path(options.embeddings) / PAGE)
    require_writable_file(page, "--output")
    wanted = ExploreOptions(
        page=page,
        data=options.data,
        media=options.media,
        projection=options.projection,
        limit=options.limit,
        neighbours=options.neighbours,
        picture_megabytes=options.picture_mb,
    )
    explorer = build_explorer(options.embeddings, wanted)
    write_explorer(page, explorer)
    for note in explorer.notes:
        sys.stderr.write(note + "\n")
    megabytes = page.stat().st_size / 1e6
    say(f"{page}: {explorer.points.count:,} clips, {len(explorer.pictures):,} pictures, {megabytes:.1f} MB")

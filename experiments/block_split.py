"""Splits numbered video files into training and test by blocks of their numbers.

    python -m experiments.block_split --clips DATA/lrc_ar --output out/manifest.csv

A block is 1,000 numbers, and every fifth block is the test split. With --rehearsal the test blocks are left out, and
every fourth of the other blocks stands for them: settings can be chosen there.
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
from pathlib import Path

from pemt_tf.errors import PemtError
from pemt_tf.files.whole_file import write_text
from pemt_tf.terminal.exit_code import exit_code_of

BLOCK = 1000  # numbers
PERIOD = 5  # of so many blocks the last one is held out: 20 %
REHEARSAL_PERIOD = 4  # the same among the other blocks
TRAIN, TEST = "train", "test"


def block_of(path: str | Path) -> int:
    """The block of a file called NUMBER.mp4; PemtError if its name is no number."""
    stem = Path(path).stem
    if not (stem.isascii() and stem.isdigit()):
        raise PemtError(f"{path}: the file's name is not a number, so it has no block; name the files 00001.mp4 etc.")
    return int(stem) // BLOCK


def split_of(block: int, rehearsal: bool = False) -> str | None:
    """The split of a block; None where a rehearsal leaves it out."""
    rounds, place = divmod(block, PERIOD)
    held_out = place == PERIOD - 1
    if not rehearsal:
        return TEST if held_out else TRAIN
    if held_out:
        return None
    return TEST if (rounds * (PERIOD - 1) + place) % REHEARSAL_PERIOD == rounds % REHEARSAL_PERIOD else TRAIN


def list_clips(folder: Path, rehearsal: bool = False) -> list[tuple[str, str, int]]:
    """Name, split and block of the mp4 files of a folder, by number.

    Raises:
        PemtError: there is no file for a split, or a file's name is no number.
    """
    names = sorted((path.name for path in folder.glob("*.mp4")), key=lambda name: (block_of(name), name))
    rows = [(name, split, block_of(name)) for name in names if (split := split_of(block_of(name), rehearsal))]
    missing = {TRAIN, TEST} - {split for _, split, _ in rows}
    if missing:
        raise PemtError(f"{folder}: no mp4 file for the split {' and '.join(sorted(missing))}; are all files there?")
    return rows


def write_manifest(rows: list[tuple[str, str, int]], path: Path) -> None:
    """Writes the manifest for `beam_jobs.preprocess`; the number of the block goes into the records."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["path", "split", "block"])
    table.writerows(rows)
    write_text(path, text.getvalue(), make_folder=True)


def main(arguments: list[str] | None = None) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0],
        epilog="example: python -m experiments.block_split --clips DATA/lrc_ar --output out/manifest.csv",
    )
    parser.add_argument("--clips", type=Path, required=True, help="folder of files called NUMBER.mp4")
    parser.add_argument("--output", type=Path, required=True, help="the manifest, a CSV file")
    parser.add_argument("--rehearsal", action="store_true", help="leave the test split out and hold out other blocks")
    options = parser.parse_args(arguments)

    def work() -> None:
        rows = list_clips(options.clips, options.rehearsal)
        write_manifest(rows, options.output)
        for split in (TRAIN, TEST):
            blocks = [block for _, found, block in rows if found == split]
            sys.stdout.write(f"{split}: {len(blocks)} files in blocks {sorted(set(blocks))}\n")

    return exit_code_of(work)


if __name__ == "__main__":
    sys.exit(main())

"""VGGSound (Chen et al., ICASSP 2020), about 200,000 clips of ten seconds, 309 sounds.

    vggsound.csv               YouTube id, start in seconds, label, train or test; without a header
    video/ID_000030.mp4 ...    clips in any folders under --root, named by id and start

Like Kinetics it is a list of videos, many of which are gone from the web. Rows of one clip with different labels, as
revised lists have them, become one clip with all of them.
"""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

from beam_jobs.datasets.collection import Collection, Entry, Missing
from beam_jobs.datasets.layout import VIDEO_SUFFIXES, files_by_stem, read_lines, require_folder
from pemt_tf.errors import PemtError

SPLITS = ("train", "test")


def collect(root: Path, annotations: Path | None) -> Collection:
    """Finds the clips of the list, by default the root's `vggsound.csv`, at any depth under the root."""
    require_folder(root, "the folder of the clips")
    path = annotations or root / "vggsound.csv"
    files, found = files_by_stem(root, VIDEO_SUFFIXES), Collection([])
    at: dict[tuple[str, str], int] = {}
    for row in csv.reader(read_lines(path, "the list of VGGSound"), skipinitialspace=True):
        if len(row) != 4 or row[3] not in SPLITS or not row[1].isdigit():
            raise PemtError(f"{path}: cannot read the row {','.join(row)!r}; expected id,start,label,train or test")
        video, start, label, split = row
        name = files.get(f"{video}_{int(start):06d}") or files.get(f"{video}_{start}")
        if name is None:
            what = f"{video} at {start} s ({label}, {split})"
            found.missing.append(Missing(what, "no file of this clip: it may be gone from the web"))
        else:
            _add(found, Entry(name, label, split, video), at)
    if not found.entries:
        raise PemtError(f"none of the {len(found.missing):,} listed clips is under {root}; expected ID_000030.mp4")
    return found


def _add(found: Collection, entry: Entry, at: dict[tuple[str, str], int]) -> None:
    """Adds a clip, or its label to the clip; `at` has the place of each clip and split."""
    place = at.setdefault((entry.path, entry.split), len(found.entries))
    if place == len(found.entries):
        found.entries.append(entry)
        return
    known = found.entries[place]
    labels = tuple(dict.fromkeys((*known.every_label, entry.label)))
    if len(labels) > 1:
        found.entries[place] = dataclasses.replace(known, label="", labels=labels)

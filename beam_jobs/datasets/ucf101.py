"""UCF101 (Soomro et al., arXiv 1212.0402), action recognition in 13,320 videos of 101 classes.

The layout as released:

    UCF-101/ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi ...   or the class folders directly under --root
    ucfTrainTestlist/classInd.txt trainlist01.txt testlist01.txt ...

Clips of one class with the same group number, gXX, were cut from one video. They are always on one side of the three
published splits, called folds here; the published figure is the mean over them.
"""

from __future__ import annotations

import re
from pathlib import Path

from beam_jobs.datasets.collection import Collection, Entry, Missing
from beam_jobs.datasets.layout import read_lines, require_folder
from pemt_tf.errors import PemtError

FOLDS = (1, 2, 3)
VIDEOS = "UCF-101"
LISTS = "ucfTrainTestlist"
NAME = re.compile(r"(?P<label>[^/]+)/v_[^/]+_(?P<group>g\d+)_c\d+\.avi")


def collect(root: Path, lists: Path | None, fold: int) -> Collection:
    """Reads a published split, `fold` 1 to 3; its lists are in `ucfTrainTestlist` under the root by default."""
    require_folder(root, f"the folder of UCF101, with {VIDEOS}/")
    lists = require_folder(lists or root / LISTS, "classInd.txt, trainlist0N.txt and testlist0N.txt (--splits)")
    videos = f"{VIDEOS}/" if (root / VIDEOS).is_dir() else ""
    numbers = _class_numbers(lists / "classInd.txt")
    found = Collection([])
    for split in ("train", "test"):
        path = lists / f"{split}list{fold:02d}.txt"
        for line in read_lines(path, f"the {split} list of UCF101"):
            entry = _entry(path, line, split, numbers, videos)
            if (root / entry.path).is_file():
                found.entries.append(entry)
            else:
                found.missing.append(Missing(entry.path, f"named by {path.name}, but there is no such file"))
    if not found.entries:
        raise PemtError(f"none of the {len(found.missing):,} listed videos is under {root}; is it the right folder?")
    return found


def _class_numbers(path: Path) -> dict[str, str]:
    pairs = [line.split() for line in read_lines(path, "the classes of UCF101, `1 ApplyEyeMakeup` a line")]
    wrong = next((pair for pair in pairs if len(pair) != 2), None)
    if wrong is not None:
        raise PemtError(f"{path}: cannot read the line {' '.join(wrong)!r}; expected `1 ApplyEyeMakeup`")
    return {label: number for number, label in pairs}


def _entry(path: Path, line: str, split: str, numbers: dict[str, str], videos: str) -> Entry:
    name, _, number = line.partition(" ")
    parts = NAME.fullmatch(name)
    if parts is None:
        raise PemtError(f"{path}: cannot read the line {line!r}; expected Class/v_Class_g01_c01.avi")
    label = parts["label"]
    if label not in numbers:
        raise PemtError(f"{path}: {line!r} is of class {label!r}, which is not in classInd.txt")
    if number and number.strip() != numbers[label]:
        raise PemtError(f"{path}: {line!r} has class number {number.strip()}, but classInd.txt says {numbers[label]}")
    return Entry(videos + name, label, split, f"{label}/{parts['group']}")

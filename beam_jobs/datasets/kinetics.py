"""Kinetics and Kinetics-Sounds (Kay et al., arXiv 1705.06950; Arandjelovic and Zisserman, ICCV 2017).

Kinetics is a list of YouTube videos, of which one has those that were still on the web. There are two ways to say what
to look for; only the first also lists what is missing:

    --annotations train.csv val.csv       columns label, youtube_id, time_start, time_end, split
    no --annotations                      the class folders: train/playing drums/ID_000010_000020.mp4, val/...

With --annotations the videos may lie in any folders under --root. They are found by name: ID_000010_000020.mp4, as the
usual download scripts cut and name them, or ID.mp4 for a whole video, of which the annotated ten seconds are taken.

The test labels of Kinetics came years later, so most papers test on its validation split: --test-on val, the
default. With --test-on test, val is the validation split.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from beam_jobs.datasets.collection import Collection, Entry, Missing
from beam_jobs.datasets.layout import (
    VIDEO_SUFFIXES,
    class_folders,
    files_by_stem,
    media_files,
    read_table,
    require_folder,
)
from pemt_tf.errors import PemtError

COLUMNS = ("label", "youtube_id", "time_start", "time_end", "split")
SPLIT_NAMES = {"train": "train", "val": "val", "validate": "val", "validation": "val", "test": "test"}
# Value of --test-on to a map from Kinetics' splits to ours. Splits that are not named are skipped.
SPLITS = {"val": {"train": "train", "val": "test"}, "test": {"train": "train", "val": "validation", "test": "test"}}
FILE_NAME = re.compile(r"(?P<youtube_id>.+)_\d+_\d+")


def collect(root: Path, annotations: list[Path], classes: tuple[str, ...] | None, test_on: str) -> Collection:
    """Finds the videos of some classes (None: all), in the CSV files of Kinetics or, without any, in class folders."""
    require_folder(root, "the folder of the videos")
    wanted = None if classes is None else frozenset(classes)
    splits = SPLITS[test_on]
    found = _annotated(root, annotations, wanted, splits) if annotations else _in_folders(root, wanted, splits)
    if not found.entries:
        raise PemtError(f"no video of these classes under {root}; expected ID_000010_000020.mp4 or ID.mp4")
    have = {entry.label for entry in found.entries if entry.split == "train"}
    empty = sorted((wanted or frozenset()) - have)
    if empty:
        raise PemtError(
            f"no training video of {', '.join(map(repr, empty))} under {root}; leave the class out, or get it"
        )
    return found


def _annotated(
    root: Path, annotations: list[Path], classes: frozenset[str] | None, splits: dict[str, str]
) -> Collection:
    files, found = files_by_stem(root, VIDEO_SUFFIXES), Collection([])
    left_out: Counter[str] = Counter()
    for path in annotations:
        for row in read_table(path, "a list of Kinetics", COLUMNS):
            if classes is not None and row["label"] not in classes:
                continue
            split = SPLIT_NAMES.get(row["split"])
            if split is None:
                raise PemtError(f"{path}: {row['youtube_id']} has split {row['split']!r}; expected train, val or test")
            if split not in splits:
                left_out[split] += 1
                continue
            entry = _find(path, row, splits[split], files)
            if entry is None:
                name = f"{row['youtube_id']} ({row['label']}, {row['split']})"
                found.missing.append(Missing(name, "no file of this video: it may be gone from the web"))
            else:
                found.entries.append(entry)
    found.notes.extend(f"{count:,} rows of the {split} split are left out" for split, count in left_out.items())
    return found


def _find(path: Path, row: dict[str, str], split: str, files: dict[str, str]) -> Entry | None:
    video = row["youtube_id"]
    try:
        start, end = int(float(row["time_start"])), int(float(row["time_end"]))
    except ValueError:
        raise PemtError(f"{path}: {video} begins at {row['time_start']!r} and ends at {row['time_end']!r}") from None
    for stem in (f"{video}_{start:06d}_{end:06d}", f"{video}_{start}_{end}"):
        if stem in files:
            return Entry(files[stem], row["label"], split, video)
    if video in files:
        return Entry(files[video], row["label"], split, video, float(start), float(end))
    return None


def _in_folders(root: Path, classes: frozenset[str] | None, splits: dict[str, str]) -> Collection:
    found = Collection([], notes=["without --annotations nobody knows what is missing"])
    for folder in class_folders(root):
        split = splits.get(SPLIT_NAMES.get(folder.name, ""))
        if split is None:
            continue
        for class_folder in class_folders(folder):
            label = class_folder.name.replace("_", " ")
            if classes is not None and label not in classes:
                continue
            for file in media_files(class_folder, VIDEO_SUFFIXES):
                parts = FILE_NAME.fullmatch(file.stem)
                group = parts["youtube_id"] if parts else file.stem
                found.entries.append(Entry(file.relative_to(root).as_posix(), label, split, group))
    return found

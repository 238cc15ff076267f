"""ESC-50 and ESC-10 (Piczak, ESC: Dataset for Environmental Sound Classification, ACM Multimedia 2015).

Two layouts are known:

    audio/1-100032-A-0.wav ... and meta/esc50.csv    the release of ESC-50; --subset esc10 takes its ESC-10
    dog_bark/1-100032-A.ogg ...                      class folders, as the release of ESC-10 has them

A file's name is {fold}-{clip id of Freesound}-{take}[-{target}]. Takes of one recording share the clip id, and are
always in one fold. One fold is tested, the other four train; the published figure is the mean over the five.
"""

from __future__ import annotations

import re
from pathlib import Path

from beam_jobs.datasets.collection import Collection, Entry, Missing
from beam_jobs.datasets.layout import class_folders, media_files, read_table, require_folder
from pemt_tf.errors import PemtError

FOLDS = (1, 2, 3, 4, 5)
SUBSETS = {"esc50": 2000, "esc10": 400}  # recordings of each, as published
COLUMNS = ("filename", "fold", "target", "category", "esc10", "src_file", "take")
SUFFIXES = (".wav", ".ogg", ".flac", ".mp3")
FILE_NAME = re.compile(r"(?P<fold>[1-5])-(?P<source>[^-]+)-(?P<take>[A-Z]+)(-\d+)?")
NUMBERED_FOLDER = re.compile(r"\d+ - ")  # "001 - Dog bark" in the release of ESC-10


def collect(root: Path, fold: int, subset: str = "esc50") -> Collection:
    """Reads either layout; `fold`, 1 to 5, is tested. `subset` `esc10` takes the ten classes of ESC-10 only."""
    require_folder(root, "the folder of ESC-50, with audio/ and meta/esc50.csv, or of ESC-10, with a folder a class")
    table = root / "meta" / "esc50.csv"
    found = _from_table(root, table, fold, subset) if table.is_file() else _from_folders(root, fold)
    if not found.entries:
        raise PemtError(f"no recording of {subset} in {root}; expected audio/ and meta/esc50.csv, or a folder a class")
    folds_of: dict[str, set[str]] = {}
    for entry in found.entries:
        folds_of.setdefault(entry.group.partition("-")[2], set()).add(entry.group)
    several = sorted(source for source, groups in folds_of.items() if len(groups) > 1)
    if several:
        found.notes.append(
            f"{len(several)} sources are in several folds, so tests see what was trained: {several[0]} ..."
        )
    expected = SUBSETS["esc10" if len({entry.label for entry in found.entries}) == 10 else "esc50"]
    if len(found.entries) != expected and not found.missing:
        found.notes.append(f"{len(found.entries)} recordings; the published set has {expected}")
    return found


def _from_table(root: Path, table: Path, fold: int, subset: str) -> Collection:
    found = Collection([])
    for row in read_table(table, "the list of ESC-50", COLUMNS):
        if row["fold"] not in {str(number) for number in FOLDS}:
            raise PemtError(f"{table}: {row['filename']} has fold {row['fold']!r}; expected 1 to 5")
        if subset == "esc10" and row["esc10"].lower() != "true":
            continue
        name = f"audio/{row['filename']}"
        if (root / name).is_file():
            found.entries.append(_entry(name, row["category"], row["src_file"], int(row["fold"]), fold))
        else:
            found.missing.append(Missing(name, "named by meta/esc50.csv, but there is no such file"))
    return found


def _from_folders(root: Path, fold: int) -> Collection:
    found = Collection([])
    for folder in class_folders(root):
        for file in media_files(folder, SUFFIXES):
            parts = FILE_NAME.fullmatch(file.stem)
            if parts is None:
                raise PemtError(f"{file} is not named as in ESC-10: fold-clip-take, as in 1-100032-A.ogg")
            label = NUMBERED_FOLDER.sub("", folder.name)
            name = f"{folder.name}/{file.name}"
            found.entries.append(_entry(name, label, parts["source"], int(parts["fold"]), fold))
    return found


def _entry(name: str, label: str, source: str, fold: int, tested: int) -> Entry:
    split = "test" if fold == tested else "train"
    return Entry(name, label, split, f"{fold}-{source}", extra=(("fold", str(fold)),))

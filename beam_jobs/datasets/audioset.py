"""AudioSet (Gemmeke et al., ICASSP 2017): ten seconds of each of 2,084,320 videos, 527 sounds, several in a clip.

    class_labels_indices.csv          index, mid, display_name; the labels get these names
    balanced_train_segments.csv       YTID, start_seconds, end_seconds, positive_labels ("/m/068hy,/m/07q6cd_")
    unbalanced_train_segments.csv     the same for the rest of the training clips
    eval_segments.csv                 the same for the test clips

The lists are looked for under --root; --train and --test name others. The media may lie in any folders under --root, as
video or as sound. They are found by name, of which the first may begin with Y:

    ID_30.mp4 ID_30_40.mp4 ID_000030_000040.mp4 ID_30000.mp4 ID_30000_40000.mp4    the clip, by seconds or milliseconds
    ID.mp4                            the whole video, of which the listed seconds are taken; with --cut the clip

AudioSet is a list of videos, many of which are gone from the web. Clips without a file are counted and listed. A label
that no training clip has cannot be learned: it is left out, and so are test clips that have no other.
"""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from beam_jobs.datasets.collection import Collection, Entry, Missing
from beam_jobs.datasets.layout import (
    AUDIO_SUFFIXES,
    VIDEO_SUFFIXES,
    files_by_stem,
    read_lines,
    read_table,
    require_folder,
)
from beam_jobs.inputs.manifest_rows import LABEL_SEPARATOR
from pemt_tf.errors import PemtError

CLASSES = "class_labels_indices.csv"
TRAIN = ("balanced_train_segments.csv", "unbalanced_train_segments.csv")
TEST = ("eval_segments.csv",)
_EXPECTED = 'YTID, start_seconds, end_seconds, "positive_labels"'


@dataclass(frozen=True)
class _Segment:
    """A row of a list."""

    video: str
    start: float  # seconds
    end: float
    split: str
    labels: tuple[str, ...]  # names


def collect(root: Path, train: list[Path], test: list[Path], classes: Path | None, cut: bool) -> Collection:
    """Finds the clips of the lists, by default those under the root, at any depth under the root.

    `cut` says whether a file that is named by its video alone holds only the clip.
    """
    require_folder(root, "the folder of the lists and the media")
    lists = {"train": train or _there(root, TRAIN), "test": test or _there(root, TEST)}
    if not lists["train"]:
        raise PemtError(f"{root} has neither {' nor '.join(TRAIN)}; name the lists of training clips with --train")
    names = _class_names(classes or root / CLASSES)
    found, files = Collection([]), files_by_stem(root, (*VIDEO_SUFFIXES, *AUDIO_SUFFIXES))
    segments = _segments(lists, names, found)
    for segment in segments:
        entry = _find(segment, files, cut)
        if entry is None:
            what = f"{segment.video} at {segment.start:g} s ({segment.split})"
            found.missing.append(Missing(what, "no file of this clip: it may be gone from the web"))
        else:
            found.entries.append(entry)
    if not found.entries:
        raise PemtError(f"none of the {len(segments):,} listed clips is under {root}; expected ID_30.mp4 or ID.mp4")
    return _only_learned(found)


def _there(root: Path, names: tuple[str, ...]) -> list[Path]:
    return [root / name for name in names if (root / name).is_file()]


def _class_names(path: Path) -> dict[str, str]:
    """Identifier to name."""
    rows = read_table(path, "the classes of AudioSet", ("index", "mid", "display_name"))
    names = {row["mid"]: row["display_name"] for row in rows}
    for mid, name in names.items():
        if not name or LABEL_SEPARATOR in name:
            raise PemtError(f"{path}: {mid} has the name {name!r}; a label is a text without {LABEL_SEPARATOR!r}")
    if len(set(names.values())) < len(names):
        raise PemtError(f"{path}: two classes have the same name")
    return names


def _segments(lists: dict[str, list[Path]], names: dict[str, str], found: Collection) -> list[_Segment]:
    """The rows of all lists; a clip that is listed again, with the labels of all its rows."""
    segments: dict[tuple[str, float], _Segment] = {}
    split_of: dict[str, str] = {}
    repeated = 0
    for split, paths in lists.items():
        for path in paths:
            for segment in _read(path, split, names):
                if split_of.setdefault(segment.video, split) != split:
                    raise PemtError(
                        f"{path}: {segment.video} is also in a list of the {split_of[segment.video]} split, so "
                        "training would see what is tested; remove it from one list"
                    )
                key = segment.video, segment.start
                if key in segments:
                    repeated += 1
                    labels = tuple(dict.fromkeys((*segments[key].labels, *segment.labels)))
                    segment = dataclasses.replace(segments[key], labels=labels)
                segments[key] = segment
    if repeated:
        found.notes.append(f"rows that repeat a clip: {repeated:,}; the clip has the labels of all its rows")
    return list(segments.values())


def _read(path: Path, split: str, names: dict[str, str]) -> Iterator[_Segment]:
    lines = [line for line in read_lines(path, "a list of AudioSet") if not line.startswith("#")]
    for row in csv.reader(lines, skipinitialspace=True):
        try:
            video, start, end, mids = row
            begin, stop = float(start), float(end)
            if not (video and mids and 0 <= begin < stop):
                raise ValueError
        except ValueError:
            raise PemtError(f"{path}: cannot read the row {','.join(row)!r}; expected {_EXPECTED}") from None
        own = [mid.strip() for mid in mids.split(",")]
        unknown = [mid for mid in own if mid not in names]
        if unknown:
            raise PemtError(f"{path}: {video} has the label {unknown[0]!r}, which is not in the list of classes")
        yield _Segment(video, begin, stop, split, tuple(dict.fromkeys(names[mid] for mid in own)))


def _find(segment: _Segment, files: dict[str, str], cut: bool) -> Entry | None:
    def entry(path: str, start: float | None = None, end: float | None = None) -> Entry:
        return Entry(path, "", segment.split, segment.video, start, end, labels=segment.labels)

    times = [(1000, "d")] + ([(1, "d"), (1, "06d")] if segment.start == int(segment.start) else [])
    for name in (segment.video, f"Y{segment.video}"):
        for scale, form in times:
            start, end = (format(round(scale * time), form) for time in (segment.start, segment.end))
            for stem in (f"{name}_{start}_{end}", f"{name}_{start}"):
                if stem in files:
                    return entry(files[stem])
        if name in files:
            return entry(files[name]) if cut else entry(files[name], segment.start, segment.end)
    return None


def _only_learned(found: Collection) -> Collection:
    """Without the labels that no training clip has, and without the clips that have no other."""
    learned = {label for entry in found.entries if entry.split == "train" for label in entry.labels}
    unlearned = sorted({label for entry in found.entries for label in entry.labels} - learned)
    if not learned:
        raise PemtError("no training clip was found, so nothing can be learned; get some, or name other lists")
    if not unlearned:
        return found
    kept, missing = [], list(found.missing)
    for entry in found.entries:
        labels = tuple(label for label in entry.labels if label in learned)
        if labels:
            kept.append(dataclasses.replace(entry, labels=labels))
        else:
            missing.append(Missing(entry.path, "has only labels that no training clip has"))
    note = f"labels that no training clip has, left out: {len(unlearned):,} ({', '.join(unlearned[:5])}"
    return Collection(kept, missing, [*found.notes, f"{note}{' ...' if len(unlearned) > 5 else ''})"])

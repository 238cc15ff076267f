"""Splits: which one a name means, and which one a clip belongs to, the same in every run and on every machine."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from pemt_tf.data.dataset_card import SPLITS
from pemt_tf.errors import PemtError

if TYPE_CHECKING:
    from beam_jobs.inputs.file_listing import InputClip  # which uses the names of the splits

DEFAULT_FRACTIONS = "train=0.8,validation=0.1,test=0.1"
NAMES_OF = {
    "train": ("train", "training"),
    "validation": ("validation", "val", "valid", "dev", "development"),
    "test": ("test", "testing"),
}
_SPLIT_OF = {name: split for split in SPLITS for name in NAMES_OF[split]}
_ALMOST = {
    *_SPLIT_OF,
    *("trn", "tst", "eval", "evaluation", "holdout", "heldout", "unseen"),
    *(f"{name}{ending}" for name in _SPLIT_OF for ending in ("set", "data", "split")),
    *("trainval", "traindev", "trainvalid"),
}
ALLOWED = f"{', '.join(SPLITS)}, or {', '.join(name for name in _SPLIT_OF if name not in SPLITS)}"


def split_named(name: str) -> str | None:
    """The split that a name means, in small or capital letters; None if it is not the name of a split."""
    return _SPLIT_OF.get(name.strip().casefold())


def looks_like_split(name: str) -> bool:
    """Whether a name that is not a split's may have been meant as one: `train_1`, `my-test`, `eval`."""
    words = re.findall(r"[a-z]+", name.casefold())
    joined = "".join(words)
    return bool(words) and (joined in _ALMOST or words[0] in _ALMOST or words[-1] in _ALMOST)


def notes_on_folders(folders: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    """What the user should know about how folders were understood, one line each."""
    splits, labels, inner = set(), set(), set()
    for path in set(folders):
        if not path:
            continue
        (splits if split_named(path[0]) else labels).add(path[0])
        if not split_named(path[0]):
            inner.update(f"{path[0]}/{name}" for name in path[1:2] if split_named(name))
    notes = []
    doubtful = {name for name in labels if looks_like_split(name)}
    if doubtful:
        notes.append(
            f"{_some(doubtful)} look like splits and were taken for labels; if they are splits, call them "
            "train, validation and test, or name the splits in a manifest"
        )
    if inner:
        notes.append(
            f"{_some(inner)} are not taken for splits, because only folders directly under the input are; the splits "
            "of these files are drawn"
        )
    others = labels - doubtful
    if splits and others:
        notes.append(
            f"{_some(splits)} were taken for splits, {_some(others)} beside them for labels; if that is wrong, name "
            "splits and labels in a manifest"
        )
    return tuple(notes)


def _some(names: set[str]) -> str:
    shown = sorted(names)
    return ", ".join(map(repr, shown[:4])) + (f" and {len(shown) - 4} more" if len(shown) > 4 else "")


def parse_fractions(text: str) -> dict[str, float]:
    """Reads `train=0.8,validation=0.1,test=0.1`; a split that is not named gets nothing."""
    fractions: dict[str, float] = dict.fromkeys(SPLITS, 0.0)
    try:
        for part in text.split(","):
            name, _, value = part.partition("=")
            if name.strip() not in fractions:
                raise ValueError
            fractions[name.strip()] = float(value)
    except ValueError:
        raise PemtError(f"cannot read --split_fractions {text!r}; write them as in {DEFAULT_FRACTIONS}") from None
    if min(fractions.values()) < 0 or abs(sum(fractions.values()) - 1.0) > 1e-6:
        raise PemtError(f"--split_fractions {text!r} add up to {sum(fractions.values()):g}; they must add up to 1")
    return fractions


def hash_fraction(name: str) -> float:
    """A number in [0, 1) that depends on the name alone."""
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def hashed_split(name: str, fractions: dict[str, float]) -> str:
    """The split of a group that was given none, drawn by its name."""
    place, below = hash_fraction(name), 0.0
    for split in SPLITS:
        below += fractions[split]
        if place < below:
            return split
    return next(split for split in reversed(SPLITS) if fractions[split])  # rounding may leave the sum just below 1


def assign_splits(
    clips: list[InputClip], fractions: dict[str, float], vocabulary: list[str] | None = None
) -> list[InputClip]:
    """Gives every input its group's split: the one that the user gave to any of it, or one drawn by hash.

    If the draws alone would keep a label out of the training split, the label's group with the lowest hash moves there,
    unless it is in the `vocabulary` of another data set. If a label is then missing in the test or validation split,
    and has enough groups, the one with the highest hash moves there: in small data sets the draws alone would leave
    tests with only one or two labels.
    """
    given = _given_splits(clips)
    drawn = {clip.group_name: hashed_split(clip.group_name, fractions) for clip in clips}
    splits = {**drawn, **given}
    groups_of: dict[str, set[str]] = {}
    for clip in clips:
        for label in clip.labels:
            groups_of.setdefault(label, set()).add(clip.group_name)
    known = set(vocabulary or ())
    for label, groups in sorted(groups_of.items()):
        if label in known or any(splits[group] == "train" for group in groups):
            continue
        movable = groups - set(given)
        if not movable:
            raise PemtError(
                f"label {label!r} is in the {splits[min(groups)]} split but not in the train split, so it cannot be "
                "learned; add training clips of it, or take the vocabulary of a training set with --labels_from"
            )
        splits[min(movable, key=_by_hash)] = "train"
    for split in reversed(SPLITS[1:]):
        if fractions[split]:
            _spread_labels(split, splits, groups_of, set(given))
    return [dataclasses.replace(clip, split=splits[clip.group_name]) for clip in clips]


def _by_hash(group: str) -> tuple[float, str]:
    return hash_fraction(group), group


def _spread_labels(split: str, splits: dict[str, str], groups_of: dict[str, set[str]], given: set[str]) -> None:
    """Moves groups into a split until it has every label of which other splits can spare a group."""
    counts = Counter((label, splits[group]) for label, groups in groups_of.items() for group in groups)
    labels_of: dict[str, list[str]] = {}
    for label, groups in groups_of.items():
        for group in groups:
            labels_of.setdefault(group, []).append(label)
    for label, groups in sorted(groups_of.items()):
        if counts[label, split]:
            continue
        spare = [
            group
            for group in groups - given
            if all(counts[other, splits[group]] > 1 for other in labels_of[group])  # not the last one
        ]
        if spare:
            chosen = max(spare, key=_by_hash)
            for other in labels_of[chosen]:
                counts[other, splits[chosen]] -= 1
                counts[other, split] += 1
            splits[chosen] = split


def _given_splits(clips: list[InputClip]) -> dict[str, str]:
    given: dict[str, str] = {}
    for clip in clips:
        if clip.split is not None and given.setdefault(clip.group_name, clip.split) != clip.split:
            raise PemtError(
                f"{clip.group_name} is in the {given[clip.group_name]} split and in the {clip.split} split, so "
                "training would see what is tested; put it into one, or tell its parts apart with a column 'group'"
            )
    return given

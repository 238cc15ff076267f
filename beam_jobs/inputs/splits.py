"""Which split a clip belongs to, the same at every run and on every machine."""

from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter

from beam_jobs.inputs.file_listing import InputClip
from pemt_tf.data.dataset_card import SPLITS
from pemt_tf.errors import PemtError

DEFAULT_FRACTIONS = "train=0.8,validation=0.1,test=0.1"


def parse_fractions(text: str) -> dict[str, float]:
    """Reads `train=0.8,validation=0.1,test=0.1`; splits that are not named get nothing."""
    fractions = dict.fromkeys(SPLITS, 0.0)
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
    """A number from 0 to below 1 that depends on nothing but the name."""
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def hashed_split(name: str, fractions: dict[str, float]) -> str:
    """The split of a group that has none, from its name."""
    place, below = hash_fraction(name), 0.0
    for split in SPLITS:
        below += fractions[split]
        if place < below:
            return split
    return next(split for split in reversed(SPLITS) if fractions[split])  # the sum may be a rounding error below 1


def assign_splits(
    clips: list[InputClip], fractions: dict[str, float], vocabulary: list[str] | None = None
) -> list[InputClip]:
    """Gives every input its group's split: the one that the user gave to any of it, or one by hash.

    A label that only these draws would keep out of the training split gets its group of lowest hash moved there. A
    label that is then missing in the test or validation split gets one moved there, of highest hash, if it has
    groups enough: in small data sets the draws alone would leave tests of one label or two.

    Args:
        clips: with or without a split.
        fractions: share of each split.
        vocabulary: labels of another data set that this one extends; they need not be in the training split here.

    Raises:
        PemtError: a group was given two splits, or a label is nowhere in the training split.
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
    """Moves groups into a split, until it has all labels of which others can spare a group."""
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
            if all(counts[other, splits[group]] > 1 for other in labels_of[group])  # it is nobody's last one
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

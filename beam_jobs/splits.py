"""Which split a clip belongs to, the same at every run and on every machine."""

from __future__ import annotations

import dataclasses
import hashlib

from beam_jobs.inputs import InputClip
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
    """The split of a file that has none, from its name."""
    place, below = hash_fraction(name), 0.0
    for split in SPLITS:
        below += fractions[split]
        if place < below:
            return split
    return next(split for split in reversed(SPLITS) if fractions[split])  # the sum may be a rounding error below 1


def assign_splits(
    clips: list[InputClip], fractions: dict[str, float], vocabulary: list[str] | None = None
) -> list[InputClip]:
    """Gives a split to every clip that has none; all clips of one file get the same.

    A label that only these draws would keep out of the training split gets its file of lowest hash moved there.

    Args:
        clips: with or without a split.
        fractions: share of each split.
        vocabulary: labels of another data set that this one extends; they need not be in the training split here.

    Raises:
        PemtError: a label is nowhere in the training split.
    """
    drawn = {clip.name: hashed_split(clip.name, fractions) for clip in clips if clip.split is None}
    trained = {clip.label for clip in clips if _split(clip, drawn) == "train"}
    if vocabulary is not None:
        trained |= set(vocabulary)
    for label in sorted({clip.label for clip in clips if clip.label is not None} - trained):
        movable = {clip.name for clip in clips if clip.label == label and clip.split is None}
        if not movable:
            split = next(clip.split for clip in clips if clip.label == label)
            raise PemtError(
                f"label {label!r} is in the {split} split but not in the train split, so it cannot be learned; add "
                "training clips of it, or take the vocabulary of a training set with --labels_from"
            )
        drawn[min(movable, key=lambda name: (hash_fraction(name), name))] = "train"
    return [dataclasses.replace(clip, split=_split(clip, drawn)) for clip in clips]


def _split(clip: InputClip, drawn: dict[str, str]) -> str:
    return clip.split or drawn[clip.name]

"""The names that people give to the splits, in folders and in manifests."""

from __future__ import annotations

import re
from collections.abc import Iterable

from pemt_tf.data.dataset_card import SPLITS

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
    """The split that a name means, in small or capital letters; None if it means none."""
    return _SPLIT_OF.get(name.strip().casefold())


def looks_like_split(name: str) -> bool:
    """Whether a name that means no split may have been meant as one: `train_1`, `my-test`, `eval`."""
    words = re.findall(r"[a-z]+", name.casefold())
    joined = "".join(words)
    return bool(words) and (joined in _ALMOST or words[0] in _ALMOST or words[-1] in _ALMOST)


def notes_on_folders(folders: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    """What the user should know about how folders were understood, one line each.

    Args:
        folders: of every input, from the input's root to the file.
    """
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

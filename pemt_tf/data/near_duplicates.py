"""Which clips of a split are near-duplicates of clips of other splits, as data preparation has listed them."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

DUPLICATES_NAME = "duplicates.jsonl"


def near_duplicates(directory: Path, split: str, others: Collection[str]) -> set[str]:
    """Clips of a split that are listed together with a clip of another split.

    Args:
        directory: folder of the data set.
        split: whose clips.
        others: the other splits; the split itself does not count.

    Returns:
        Ids of clips; none where nothing is listed.
    """
    try:
        lines = (directory / DUPLICATES_NAME).read_text(encoding="utf-8").splitlines()
        pairs = [json.loads(line) for line in lines]
    except (OSError, ValueError):
        return set()
    found = set()
    for pair in pairs:
        sides = [(pair.get(side), pair.get(f"{side}_split")) for side in ("first", "second")]
        for (clip, own), (_, other) in (sides, sides[::-1]):
            if own == split and other != split and other in others:
                found.add(clip)
    return found

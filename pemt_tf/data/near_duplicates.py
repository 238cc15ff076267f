"""Which clips of a split are near-duplicates of clips of other splits, as listed by data preparation."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

from pemt_tf.data.dataset_card import DatasetCard
from pemt_tf.errors import PemtError

DUPLICATES_NAME = "duplicates.jsonl"


def near_duplicates(directory: Path, split: str, others: Collection[str]) -> set[str]:
    """Ids of the clips of a split that are listed with a clip of one of the `others`; the split itself does not count.

    Pairs with a clip that was dropped from the data set do not count. Older releases dropped clips
    (`--drop_duplicates`) without saying which; their pairs do not count either.
    """
    try:
        lines = (directory / DUPLICATES_NAME).read_text(encoding="utf-8").splitlines()
        pairs = [json.loads(line) for line in lines]
        dropped = "--drop_duplicates" in DatasetCard.read(directory).command
    except (OSError, ValueError, PemtError):
        return set()
    found = set()
    for pair in pairs:
        if pair.get("left_out", dropped):
            continue
        sides = [(pair.get(side), pair.get(f"{side}_split")) for side in ("first", "second")]
        for (clip, own), (_, other) in (sides, sides[::-1]):
            if own == split and other != split and other in others:
                found.add(clip)
    return found

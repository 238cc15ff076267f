"""Moves a share of the training entries to the validation split, in whole groups."""

from __future__ import annotations

import dataclasses

from beam_jobs.datasets.collection import Entry
from beam_jobs.inputs.file_listing import hash_fraction
from pemt_tf.errors import PemtError


def hold_out(entries: list[Entry], fraction: float) -> list[Entry]:
    """Moves the training groups whose hash is below `fraction` to the validation split.

    The choice depends only on the group's name, so it is the same on every machine and does not change when files are
    added or removed. A label keeps at least one training group, the one with the highest hash.
    """
    if not fraction:
        return entries
    if any(entry.split == "validation" for entry in entries):
        raise PemtError("this data set has a validation split of its own; leave out --validation-fraction")
    groups_of: dict[str, set[str]] = {}
    for entry in entries:
        if entry.split == "train":
            groups_of.setdefault(entry.label, set()).add(entry.group)
    moved = {group for groups in groups_of.values() for group in groups if hash_fraction(group) < fraction}
    for groups in groups_of.values():
        if groups <= moved:
            moved.discard(max(groups, key=lambda group: (hash_fraction(group), group)))
    return [
        dataclasses.replace(entry, split="validation") if entry.split == "train" and entry.group in moved else entry
        for entry in entries
    ]

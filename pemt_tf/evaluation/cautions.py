"""Cautions about figures: test clips that training saw, tests with a single label, near-duplicates.

Each is a part of a sentence, in the line of the figures, in the JSON file, and in reports; empty where all is well.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from pemt_tf.data.clip_source import ClipSource
from pemt_tf.data.near_duplicates import DUPLICATES_NAME, near_duplicates
from pemt_tf.training.history import training_history

FINETUNE = "finetune"


def join_cautions(*cautions: str) -> str:
    """All cautions that are not empty, as one text."""
    return "; ".join(caution for caution in cautions if caution)


def seen_caution(description: dict[str, Any], source: ClipSource, split: str, validation_split: str) -> str:
    """The caution that the clips of a split are not held out from a run; `description` is its `run.json`."""
    trainings = [one for one in training_history(description) if one["data_hash"] == source.content_hash]
    if description.get("data_hash") == source.content_hash:
        if split == description.get("split"):
            return "the model was trained on these clips"
        if "validation" in (description.get("selection") or "") and split == validation_split:
            return "the weights were chosen on these clips"
    kinds = [one["kind"] for one in trainings if one["split"] == split]
    if kinds:
        return f"the network was {'fine-tuned' if FINETUNE in kinds else 'pretrained'} on these clips"
    return ""


def fitted_caution(description: dict[str, Any], source: ClipSource, train_split: str) -> str:
    """The caution that the features of a probe were learnt with the labels that it is fitted to; empty if not."""
    for one in training_history(description):
        if one["kind"] == FINETUNE and (one["data_hash"], one["split"]) == (source.content_hash, train_split):
            return f"the network was fine-tuned on the labels of split {train_split!r}, to which the probe is fitted"
    return ""


def label_caution(labels: Sequence[str], truth: Collection[int]) -> str:
    """The caution that all clips of a test have the same label; empty if not."""
    found = {int(label) for label in truth}
    if len(found) != 1 or len(labels) < 2:
        return ""
    return f"all of these clips have the label {labels[found.pop()]!r}, and a model that always says so is right"


def duplicate_caution(source: ClipSource, split: str, trained: Collection[str]) -> str:
    """The caution that clips of a split are near-duplicates of clips in the `trained` splits; empty if none is."""
    found = [] if source.directory is None else near_duplicates(source.directory, split, trained)
    if not found:
        return ""
    clips = "clip of this split is a near-duplicate" if len(found) == 1 else "clips of this split are near-duplicates"
    return f"{len(found)} {clips} of training clips ({DUPLICATES_NAME})"


def trained_splits(description: dict[str, Any], source: ClipSource) -> set[str]:
    """The splits of these records that the weights of a run were trained on."""
    return {one["split"] for one in training_history(description) if one["data_hash"] == source.content_hash}


def find_caution(
    description: dict[str, Any], source: ClipSource, split: str, validation_split: str = "validation"
) -> str:
    """All cautions about measuring a run on a split; see `seen_caution` for the arguments."""
    return join_cautions(
        seen_caution(description, source, split, validation_split),
        duplicate_caution(source, split, trained_splits(description, source)),
    )


def probe_caution(
    description: dict[str, Any],
    source: ClipSource,
    train_split: str,
    split: str,
    truth: Collection[int],
    validation_split: str,
) -> str:
    """All cautions about a probe; `description` is empty for a network without training."""
    return join_cautions(
        seen_caution(description, source, split, validation_split),
        fitted_caution(description, source, train_split),
        label_caution(source.labels, truth),
        duplicate_caution(source, split, {train_split, *trained_splits(description, source)}),
    )

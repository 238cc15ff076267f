"""Finds weak points in the splits of a data set: too few test clips, missing labels, clips that training has seen."""

from __future__ import annotations

from pemt_tf.data.dataset_card import DatasetCard, SplitCard

FEW_CLIPS = 30  # in a test split; with fewer, one more correct clip adds over three points to a result
NAMED = 5  # labels that a message names


def split_findings(card: DatasetCard) -> list[str]:
    """One sentence for each weak point, the worst first."""
    held_out = {name: split for name, split in card.splits.items() if name != "train"}
    findings = [_near_duplicates(name, split) for name, split in held_out.items()]
    labels = sorted({label for split in card.splits.values() for label in split.labels})
    findings += [_labels(name, split, labels) for name, split in held_out.items()]
    test = held_out.get("test")
    if labels and test and test.clips < FEW_CLIPS:
        clips = "1 clip" if test.clips == 1 else f"{test.clips} clips"
        findings.append(f"The test split has only {clips}; a single one changes a result by {100 / test.clips:.0f} %.")
    return [finding for finding in findings if finding]


def _near_duplicates(name: str, split: SplitCard) -> str:
    count = split.near_duplicates
    if not count:
        return ""
    are = "is a near-duplicate" if count == 1 else "are near-duplicates"
    return (
        f"{count:,} of {split.clips:,} {name} clips {are} of training clips, so results on "
        "them are too good (duplicates.jsonl); --drop_duplicates leaves the training clips out."
    )


def _labels(name: str, split: SplitCard, labels: list[str]) -> str:
    missing = [label for label in labels if label not in split.labels]
    if not missing or len(labels) < 2:
        return ""
    some = ", ".join(missing[:NAMED]) + (f" and {len(missing) - NAMED:,} more" if len(missing) > NAMED else "")
    return f"The {name} split has no clip of {len(missing):,} of {len(labels):,} labels: {some}."

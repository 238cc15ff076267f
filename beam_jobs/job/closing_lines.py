"""What the job says when it is done."""

from __future__ import annotations

from beam_jobs.engines import storage
from beam_jobs.finish.split_findings import split_findings
from beam_jobs.worker import outcomes
from pemt_tf.data.dataset_card import CARD_NAME, DatasetCard


def summary(card: DatasetCard, output: str) -> list[str]:
    """The closing lines."""
    lines = [
        f"{name}: {split.clips} clips in {len(split.files)} files, {len(split.labels)} labels, "
        f"{split.unlabelled} unlabelled, {split.with_video} with video, {split.with_audio} with audio, "
        f"{split.seconds:.0f} s"
        for name, split in card.splits.items()
    ]
    if card.left_out:
        lines.append(f"windows left out: {outcomes.describe(card.left_out)} (errors/)")
    if card.filtered:
        lines.append(f"filtered: {outcomes.describe(card.filtered)} (errors/filtered.jsonl)")
    if card.failed:
        lines.append(f"failed: {outcomes.describe(card.failed)} (errors/failures.jsonl)")
    if card.silent or card.frozen:
        lines.append(f"flagged: {card.silent} clips silent, {card.frozen} frozen (index.parquet)")
    if any(card.duplicates.values()):
        lines.append(
            f"nearly equal clips: {card.duplicates['across_splits']} pairs across splits, "
            f"{card.duplicates['within_splits']} within (duplicates.jsonl)"
        )
    unlearned = sorted(
        {label for name, split in card.splits.items() if name != "train" for label in split.labels}
        - set(card.splits["train"].labels if "train" in card.splits else card.labels)
    )
    if unlearned:
        lines.append(f"warning: after failures no training clip is left of: {', '.join(unlearned)}")
    lines += [f"warning: {finding[0].lower()}{finding[1:]}" for finding in split_findings(card)]
    lines.append(
        f"{card.inputs} inputs = {card.written} written + {sum(card.filtered.values())} filtered + "
        f"{sum(card.failed.values())} failed"
    )
    if card.plan.get("kind") == "windows":
        lines.append(f"{card.clips} clips of {card.plan['window']:g} s, one every {card.plan['stride']:g} s")
    lines.append(f"wrote {storage.join(output, CARD_NAME)}")
    return lines

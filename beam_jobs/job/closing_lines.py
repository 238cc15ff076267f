"""What the job says when it is done."""

from __future__ import annotations

from beam_jobs.engines import storage
from beam_jobs.finish.split_findings import split_findings
from beam_jobs.job.guard import outcome_lines
from beam_jobs.worker.outcomes import describe
from pemt_tf.data.dataset_card import CARD_NAME, DatasetCard


def summary(card: DatasetCard, output: str) -> list[str]:
    """The closing lines of `beam_jobs.preprocess`."""
    lines = [
        f"{name}: {split.clips} clips in {len(split.files)} files, {len(split.labels)} labels, "
        f"{split.unlabelled} unlabelled, {split.with_video} with video, {split.with_audio} with audio, "
        f"{split.seconds:.0f} s"
        for name, split in card.splits.items()
    ]
    by_cause, total = outcome_lines(card.filtered, card.failed, card.inputs, card.written)
    if card.left_out:
        lines.append(f"windows left out: {describe(card.left_out)} (errors/)")
    lines += by_cause
    if card.silent or card.frozen:
        lines.append(f"flagged: {card.silent} clips silent, {card.frozen} frozen (index.parquet)")
    if any(card.duplicates.values()):
        lines.append(
            f"near-duplicates: {card.duplicates['across_splits']} pairs across splits, "
            f"{card.duplicates['within_splits']} within (duplicates.jsonl)"
        )
    unlearned = sorted(
        {label for name, split in card.splits.items() if name != "train" for label in split.labels}
        - set(card.splits["train"].labels if "train" in card.splits else card.labels)
    )
    if unlearned:
        lines.append(f"warning: because of failures, no training clip is left of: {', '.join(unlearned)}")
    lines += [f"warning: {finding[0].lower()}{finding[1:]}" for finding in split_findings(card)]
    lines.append(total)
    if card.plan.get("kind") == "windows":
        lines.append(f"{card.clips} clips of {card.plan['window']:g} s, one every {card.plan['stride']:g} s")
    lines.append(f"wrote {storage.join(output, CARD_NAME)}")
    return lines

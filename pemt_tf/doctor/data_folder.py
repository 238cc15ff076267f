"""A data set that one wants to train on: is it complete?"""

from __future__ import annotations

from pathlib import Path

from pemt_tf.doctor.finding import OK, PROBLEM, WARNING, Finding


def check_data(directory: Path) -> Finding:
    """Whether a folder holds a finished data set with all its files; their contents are not read."""
    from pemt_tf.data.dataset_card import DatasetCard
    from pemt_tf.errors import PemtError

    again = f"run beam_jobs.preprocess again with --output {directory}"
    try:
        card = DatasetCard.read(directory)
    except PemtError as error:
        return Finding(PROBLEM, "data", str(error), again)
    files = [directory / file for split in card.splits.values() for file in split.files]
    gone = [file for file in files if not file.is_file()]
    if gone:
        return Finding(PROBLEM, "data", f"{len(gone)} of {len(files)} record files are gone, first {gone[0]}", again)
    gigabytes = sum(file.stat().st_size for file in files) / 1e9
    clips = {name: split.clips for name, split in card.splits.items()}
    found = (
        f"{', '.join(f'{count:,} {name}' for name, count in clips.items())} clips, {gigabytes:.2f} GB at {directory}"
    )
    if not clips.get("train"):
        return Finding(
            WARNING, "data", f"{found}; none to train on", "put videos in a folder train/, see docs/data_format.md"
        )
    return Finding(OK, "data", found)

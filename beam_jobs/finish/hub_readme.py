"""`README.md` of a data set in Parquet: tells Hugging Face `datasets` which files are which split.

Without it, `load_dataset("data/")` would guess from all files of the folder, the job's own lists among them.
"""

from __future__ import annotations

from pemt_tf.data.dataset_card import DatasetCard
from pemt_tf.formats.named import SUFFIXES
from pemt_tf.formats.record_files import PARQUET

README_NAME = "README.md"


def readme_text(card: DatasetCard) -> str:
    """The page, with the splits in its YAML head."""
    splits = [line for name in card.splits for line in (f"  - split: {name}", f"    path: {name}/*{SUFFIXES[PARQUET]}")]
    clips = ", ".join(f"{split.clips:,} {name}" for name, split in card.splits.items())
    size = card.geometry
    return "\n".join(
        [
            *("---", "configs:", "- config_name: default", "  data_files:", *splits, "---", ""),
            f"Clips: {clips}. Labels: {len(card.labels):,} (`labels.txt`). What became of every input: `report.html`.",
            "",
            f"A clip has {size.segments} segments of {size.frames_per_segment} frames, row-major, and a spectrogram",
            f"`log_mel`, float32 [{size.segments}, {size.mel_bins}, {size.mel_frames}]. Times are seconds; a missing",
            "modality is null. Clips stand in the order of `index.parquet`.",
            "",
        ]
    )

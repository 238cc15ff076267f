"""A small data set that can be learned: the label shows in the level of the spectrogram."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import tensorflow as tf

from pemt_tf.config import Config
from pemt_tf.data import records
from pemt_tf.data.dataset_card import DatasetCard, SplitCard

# Smaller than any preset, so that a pipeline run takes seconds where it computes.
OVERRIDES = (
    "geometry.segments=2",
    "geometry.frames_per_segment=2",
    "geometry.frame_rate=8",
    "geometry.stored_short_side=32",
    "geometry.train_crop=32",
    "geometry.train_scale=[32,32]",
    "geometry.test_crop=32",
    "geometry.sample_rate=8000",
    "geometry.samples_per_segment=2000",
    "geometry.mel_bins=16",
    "geometry.mel_frames=32",
    "model.fusion=early",
    "model.hidden=16",
    "model.heads=2",
    "model.intermediate=32",
    "model.layers=1",
    "model.rank=4",
    "pretrain.batch_size=4",
    "pretrain.negative_count=4",
    "pretrain.projection=8",
    "finetune.batch_size=8",
)
LABELS = ("quiet", "loud")


def tiny_config() -> Config:
    """The configuration that the records below fit."""
    return Config.from_preset("tiny").with_overrides(list(OVERRIDES))


def fake_clip(seed: int, label: int | None, looks_like: int | None = None) -> records.ClipRecord:
    """A clip whose spectrogram lies 12 higher for `loud`; one in five has no picture.

    Args:
        seed: of its random content.
        label: row of `LABELS`, or None.
        looks_like: the label that its content shows; the same by default.
    """
    clip = records.get_fake_clip(tiny_config().geometry, seed, label, video=seed % 5 != 3)
    shown = (label if looks_like is None else looks_like) or 0
    names = () if label is None else (LABELS[label],)
    return dataclasses.replace(clip, log_mel=clip.log_mel + 12 * shown, labels=names)


def write_dataset(
    folder: Path, splits: dict[str, list[records.ClipRecord]], labels: tuple[str, ...] = LABELS
) -> DatasetCard:
    """Writes clips by split as `beam_jobs.preprocess` would: records, and last the card."""
    geometry, cards = tiny_config().geometry, {}
    for split, clips in splits.items():
        (folder / split).mkdir(parents=True)
        name = f"{split}/clips-00000-of-00001.tfrecord"
        with tf.io.TFRecordWriter(str(folder / name)) as writer:
            for clip in clips:
                writer.write(records.serialize(clip, geometry))
        first = [clip.labels[0] for clip in clips if clip.labels]
        counts = {label: first.count(label) for label in labels if label in first}
        cards[split] = SplitCard([name], len(clips), counts, len(clips) - len(first))
    total = sum(map(len, splits.values()))
    card = DatasetCard(geometry, list(labels), cards, total, total, {}, {}, content_hash=f"{total} clips")
    card.write(folder)
    return card

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


def fake_clip(seed: int, label: int | None) -> records.ClipRecord:
    """A clip whose spectrogram lies 12 higher for `loud`; without sound or picture now and then."""
    clip = records.get_fake_clip(tiny_config().geometry, seed, label, video=seed % 5 != 3)
    names = () if label is None else (LABELS[label],)
    return dataclasses.replace(clip, log_mel=clip.log_mel + 12 * (label or 0), labels=names)


def write_dataset(folder: Path, labels: dict[str, list[int | None]]) -> DatasetCard:
    """Writes a data set as `beam_jobs.preprocess` would.

    Args:
        folder: to write to.
        labels: split name to the label of each of its clips; None is unlabelled.
    """
    geometry, splits = tiny_config().geometry, {}
    for split, wanted in labels.items():
        (folder / split).mkdir(parents=True)
        name = f"{split}/clips-00000-of-00001.tfrecord"
        with tf.io.TFRecordWriter(str(folder / name)) as writer:
            for index, label in enumerate(wanted):
                clip = fake_clip(1000 * len(splits) + index, label)
                writer.write(records.serialize(clip, geometry))
        counts = {LABELS[label]: wanted.count(label) for label in sorted({x for x in wanted if x is not None})}
        splits[split] = SplitCard([name], len(wanted), counts, wanted.count(None))
    total = sum(map(len, labels.values()))
    card = DatasetCard(geometry, list(LABELS), splits, total, total, {}, {}, content_hash=f"hash of {total} clips")
    card.write(folder)
    return card

"""Small data sets of random clips, for tests that need records and no media files."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path

import tensorflow as tf

from pemt_tf.config import ClipGeometry
from pemt_tf.data import records
from pemt_tf.data.dataset_card import DatasetCard, SplitCard

LABELS = ("label0", "label1", "label2")

# What makes a clip special: its number within the split.
WITHOUT_VIDEO = 5
WITHOUT_AUDIO = 6
WITHOUT_BOTH = 7
WITHOUT_LABEL = 8


def fake_clips(geometry: ClipGeometry, count: int, first_seed: int = 0) -> list[records.ClipRecord]:
    """`count` random clips, a little wider than high, labelled 0, 1, 2, 0, ...; the special ones in their places."""
    width = geometry.stored_short_side + 7
    return [
        records.get_fake_clip(
            geometry,
            seed=first_seed + number,
            label=None if number == WITHOUT_LABEL else number % len(LABELS),
            width=width,
            video=number not in (WITHOUT_VIDEO, WITHOUT_BOTH),
            audio=number not in (WITHOUT_AUDIO, WITHOUT_BOTH),
        )
        for number in range(count)
    ]


def write_dataset(
    directory: Path, geometry: ClipGeometry, splits: dict[str, list[records.ClipRecord]], shards: int = 2
) -> Path:
    """Writes clips as sharded records with a card; every split also gets a shard of 0 bytes, as Beam may write."""
    cards = {}
    for split, clips in splits.items():
        files = [f"{split}/clips-{shard:05d}-of-{shards + 1:05d}.tfrecord" for shard in range(shards + 1)]
        (directory / split).mkdir(parents=True)
        for shard, file in enumerate(files):
            with tf.io.TFRecordWriter(str(directory / file)) as writer:
                for clip in clips[shard::shards] if shard < shards else ():
                    writer.write(records.serialize(clip, geometry))
        assert (directory / files[-1]).stat().st_size == 0
        cards[split] = _split_card(files, clips)
    total = sum(map(len, splits.values()))
    DatasetCard(geometry, list(LABELS), cards, total, total, {}, {}, content_hash="f" * 64).write(directory)
    return directory


def _split_card(files: list[str], clips: list[records.ClipRecord]) -> SplitCard:
    labels = Counter(label for clip in clips for label in clip.labels)
    return SplitCard(
        files=files,
        clips=len(clips),
        labels=dict(labels),
        unlabelled=sum(not clip.labels for clip in clips),
        with_video=sum(clip.jpegs is not None for clip in clips),
        with_audio=sum(clip.log_mel is not None for clip in clips),
        seconds=sum(clip.end - clip.start for clip in clips),
    )


def replace_card(directory: Path, **changes) -> None:
    """Rewrites the card of a data set with some fields changed."""
    dataclasses.replace(DatasetCard.read(directory), **changes).write(directory)

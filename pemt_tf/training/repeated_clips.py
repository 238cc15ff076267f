"""A batch that is larger than its data holds clips twice, and a clip is then paired with itself as a wrong pair."""

from __future__ import annotations

import itertools
import math

import tensorflow as tf

from pemt_tf.config.training import PretrainConfig
from pemt_tf.data import records
from pemt_tf.data.clip_source import ClipSource
from pemt_tf.data.input_pipeline import read_batches
from pemt_tf.data.record_format import HAS_AUDIO, HAS_VIDEO

_FLAGS = {"visual": HAS_VIDEO, "audio": HAS_AUDIO}
_SURELY_ENOUGH = 10  # batches of clips; whether all of them have the streams is then not looked at


def compared_clips(settings: PretrainConfig, replicas: int) -> int:
    """How many clips are compared with each other: those of a batch, a part of it, a device or a group."""
    if settings.gather_negatives:
        return settings.part_size
    return settings.part_size // max(replicas, settings.negative_groups)


def same_clip_share(batch: int, clips: int) -> float:
    """Share of the pairs of places in a batch that hold the same clip, on average over a training.

    Every clip comes once before any comes again, in a new order each round. So places of one round hold different
    clips, and places of different rounds the same one with probability 1 / clips. Batches begin at all places of a
    round that are multiples of the greatest common divisor of the two numbers, equally often.

    Args:
        batch: clips that are compared with each other, at least 2.
        clips: how many there are.
    """
    begins = range(0, clips, math.gcd(batch, clips))
    of_one_round = 0.0
    for begin in begins:
        borders = [0, *range(clips - begin, batch, clips), batch]
        of_one_round += sum(math.comb(max(end - start, 0), 2) for start, end in itertools.pairwise(borders))
    return (1.0 - of_one_round / len(begins) / math.comb(batch, 2)) / clips


def repetition_warning(source: ClipSource, split: str, streams: tuple[str, ...], batch: int) -> str:
    """What to tell people; empty where the batch is not larger than the data.

    Args:
        source: the records.
        split: which clips.
        streams: that a clip must have to be used; modalities by name.
        batch: clips that are compared with each other.
    """
    if source.clips.get(split, 0) >= _SURELY_ENOUGH * batch:
        return ""
    clips = _count_usable(source, split, streams, batch)
    if clips >= batch:
        return ""
    return (
        f"warning: {batch} clips are compared with each other, but split {split!r} has only {clips} with "
        f"{' and '.join(streams)}: {same_clip_share(batch, clips):.1%} of the wrong pairs are a clip with itself; use "
        "a smaller --set pretrain.batch_size=, or more clips"
    )


def _count_usable(source: ClipSource, split: str, streams: tuple[str, ...], most: int) -> int:
    """Clips that have the streams; no more than `most` are counted, and no picture is decoded."""
    clips = tf.data.TFRecordDataset(list(source.require_split(split)), source.compression)
    clips = clips.map(lambda raw: records.parse(raw, source.geometry, source.payload))
    clips = clips.map(lambda clip: tf.reduce_all([clip[_FLAGS[stream]] for stream in streams])).filter(lambda has: has)
    return sum(1 for _ in itertools.islice(read_batches(clips, source, split), most))

"""The warning about batches larger than their data: they repeat clips, and pair a clip with itself as a mismatch."""

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
_SURELY_ENOUGH = 10  # batches of clips; with more, clips are not counted


def compared_clips(settings: PretrainConfig, replicas: int) -> int:
    """Number of clips that are compared with each other: of a batch, a part of it, a device or a group."""
    if settings.gather_negatives:
        return settings.part_size
    return settings.part_size // max(replicas, settings.negative_groups)


def same_clip_share(batch: int, clips: int) -> float:
    """Share of the pairs of places in a batch (at least 2) that hold the same clip, on average over a training.

    Every clip comes once before any comes again, in a new order each round. So places of one round hold different
    clips, and places of different rounds hold the same one with probability 1 / clips. Batches start at the places of a
    round that are multiples of the greatest common divisor of the two numbers, equally often.
    """
    begins = range(0, clips, math.gcd(batch, clips))
    of_one_round = 0.0
    for begin in begins:
        borders = [0, *range(clips - begin, batch, clips), batch]
        of_one_round += sum(math.comb(max(end - start, 0), 2) for start, end in itertools.pairwise(borders))
    return (1.0 - of_one_round / len(begins) / math.comb(batch, 2)) / clips


def repetition_warning(source: ClipSource, split: str, modalities: tuple[str, ...], batch: int) -> str:
    """The warning for the user; empty if no more clips are compared than have all `modalities`."""
    if source.clips.get(split, 0) >= _SURELY_ENOUGH * batch:
        return ""
    clips = _count_usable(source, split, modalities, batch)
    if clips >= batch:
        return ""
    return (
        f"warning: {batch} clips are compared with each other, but split {split!r} has only {clips} with "
        f"{' and '.join(modalities)}: {same_clip_share(batch, clips):.1%} of the mismatched pairs are a clip with "
        "itself; use a smaller --set pretrain.batch_size=, or more clips"
    )


def _count_usable(source: ClipSource, split: str, modalities: tuple[str, ...], most: int) -> int:
    """Number of clips that have the modalities, at most `most`; no frame is decoded."""
    clips = tf.data.TFRecordDataset(list(source.require_split(split)), source.compression)
    clips = clips.map(lambda raw: records.parse(raw, source.geometry, source.payload))
    clips = clips.map(lambda clip: tf.reduce_all([clip[_FLAGS[modality]] for modality in modalities])).filter(
        lambda has: has
    )
    return sum(1 for _ in itertools.islice(read_batches(clips, source, split), most))

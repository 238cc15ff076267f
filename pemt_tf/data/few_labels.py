"""Which clips keep their label when only a few per class may be used."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from pemt_tf.data import records
from pemt_tf.data.clip_source import ClipSource
from pemt_tf.data.input_pipeline import read_batches
from pemt_tf.data.record_index import RecordIndex


def draw_labelled(ids: np.ndarray, labels: np.ndarray, per_class: int, seed: int) -> np.ndarray:
    """Row numbers, ascending, of `per_class` clips of every label (all where it has fewer), whatever their order.

    `labels` is [clips] int, -1 without a label. A smaller draw is part of a larger one.
    """
    drawn = []
    for label in np.unique(labels[labels >= 0]):
        rows = np.flatnonzero(labels == label)
        rows = rows[np.argsort(ids[rows], kind="stable")]
        drawn.append(np.random.default_rng([seed, int(label)]).permutation(rows)[:per_class])
    return np.sort(np.concatenate(drawn)) if drawn else np.zeros(0, int)


def few_labelled(source: ClipSource, split: str, per_class: int, seed: int) -> frozenset[str]:
    """Ids of `per_class` clips of every label, as `draw_labelled` draws them; frames are not decoded."""
    source.require_readable(split)
    if source.can_seek:
        index = RecordIndex.of(source.require_split(split), source.directory, source.labels)
        source.require_count(split, len(index.ids))
        return frozenset(index.ids[draw_labelled(index.ids, index.labels, per_class, seed)])
    clips = tf.data.TFRecordDataset(list(source.require_split(split)), source.compression)
    clips = clips.map(lambda raw: records.parse(raw, source.geometry, source.payload))
    clips = clips.map(lambda clip: (clip["id"], clip["label"]))
    found = list(read_batches(clips.as_numpy_iterator(), source, split))
    source.require_count(split, len(found))
    ids, labels = np.array([name for name, _ in found]), np.array([label for _, label in found])
    return frozenset(name.decode() for name in ids[draw_labelled(ids, labels, per_class, seed)])

"""Which clips keep their label when only a few per class may be used."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from pemt_tf.data import records
from pemt_tf.data.clip_source import ClipSource
from pemt_tf.data.input_pipeline import read_batches
from pemt_tf.data.record_index import RecordIndex


def draw_labelled(
    ids: np.ndarray, labels: np.ndarray, per_class: int, seed: int, rows: np.ndarray | None = None
) -> np.ndarray:
    """Row numbers, ascending, of `per_class` clips of every label (all where it has fewer), whatever their order.

    `labels` is [clips] int, -1 without a label; or, with `rows`, [pairs] int, the labels of these rows of `ids`, which
    may have several. A clip that is drawn for one label may have others. A smaller draw is part of a larger one.
    """
    rows = np.arange(len(labels)) if rows is None else rows
    drawn = []
    for label in np.unique(labels[labels >= 0]):
        own = rows[labels == label]
        own = own[np.argsort(ids[own], kind="stable")]
        drawn.append(np.random.default_rng([seed, int(label)]).permutation(own)[:per_class])
    return np.unique(np.concatenate(drawn)) if drawn else np.zeros(0, int)


def few_labelled(
    source: ClipSource, split: str, per_class: int, seed: int, every_label: bool = False
) -> frozenset[str]:
    """Ids of `per_class` clips of every label, as `draw_labelled` draws them; frames are not decoded.

    `every_label` says whether all labels of a clip count, or only its first.
    """
    source.require_readable(split)
    if source.can_seek:
        index = RecordIndex.of(source.require_split(split), source.directory, source.labels)
        source.require_count(split, len(index.ids))
        rows, labels = index.pairs(every_label)
        return frozenset(index.ids[draw_labelled(index.ids, labels, per_class, seed, rows)])
    clips = tf.data.TFRecordDataset(list(source.require_split(split)), source.compression)
    clips = clips.map(lambda raw: records.parse(raw, source.geometry, source.payload))
    clips = clips.map(lambda clip: (clip["id"], clip["labels"] if every_label else clip["labels"][:1]))
    found = list(read_batches(clips.as_numpy_iterator(), source, split))
    source.require_count(split, len(found))
    ids, labels = np.array([name for name, _ in found]), [own for _, own in found]
    rows = np.repeat(np.arange(len(found)), [len(own) for own in labels])
    chosen = draw_labelled(ids, np.concatenate([np.zeros(0, np.int64), *labels]), per_class, seed, rows)
    return frozenset(name.decode() for name in ids[chosen])

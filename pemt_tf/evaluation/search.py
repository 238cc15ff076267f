"""Finds the clips of a data set that are most like a video file, by embedding."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from pemt_tf.data import records
from pemt_tf.data.clip_source import ClipSource
from pemt_tf.errors import PemtError
from pemt_tf.evaluation.knn import nearest
from pemt_tf.export.local_predictor import LocalPredictor


@dataclass(frozen=True, eq=False)
class EmbeddedClips:
    """Clips and their embeddings.

    Attributes:
        ids, paths: of every clip.
        labels: name of every clip's label, empty without one.
        embeddings: [clips, hidden] float32.
    """

    ids: tuple[str, ...]
    paths: tuple[str, ...]
    labels: tuple[str, ...]
    embeddings: np.ndarray


@dataclass(frozen=True)
class Hit:
    """A found clip."""

    clip_id: str
    path: str
    label: str
    similarity: float


def embed_split(predictor: LocalPredictor, source: ClipSource, split: str) -> EmbeddedClips:
    """Embeds every clip of a split.

    Raises:
        PemtError: other geometry, no such split, unreadable records.
    """
    source.require_geometry(predictor.metadata.config.geometry)
    source.require_readable(split)
    ids, paths, labels, embeddings = [], [], [], []
    for serialized, answer in predictor.answer_all(source.require_split(split)):
        embeddings.append(answer["embedding"])
        for raw in serialized:
            feature = tf.train.Example.FromString(raw).features.feature
            ids.append(feature[records.CLIP_ID].bytes_list.value[0].decode())
            paths.append(feature[records.DATA_PATH].bytes_list.value[0].decode("utf-8", "replace"))
            labels.append(b" ".join(feature[records.LABEL_STRING].bytes_list.value).decode())
    return EmbeddedClips(tuple(ids), tuple(paths), tuple(labels), np.concatenate(embeddings))


def search(clips: EmbeddedClips, query: np.ndarray, k: int, exclude: str | None = None) -> list[Hit]:
    """The k clips most like an embedding [hidden], best first; `exclude` is the id of a clip to leave out.

    Raises:
        PemtError: the embedding has another width than those of the clips.
    """
    if query.shape[-1] != clips.embeddings.shape[-1]:
        raise PemtError(f"the query has {query.shape[-1]} numbers, the clips have {clips.embeddings.shape[-1]}")
    row = clips.ids.index(exclude) if exclude in clips.ids else None
    return [
        Hit(clips.ids[found.row], clips.paths[found.row], clips.labels[found.row], found.similarity)
        for found in nearest(query, clips.embeddings, k, exclude=row)
    ]

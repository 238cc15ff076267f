"""Runs a trained model on a few held-out clips: their nearest training clips, and what the model attends to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from pemt_tf.data.clip_source import ClipSource
from pemt_tf.data.input_pipeline import evaluation_clips, model_inputs, read_batches
from pemt_tf.data.split_pass import SplitPass
from pemt_tf.errors import PemtError
from pemt_tf.models.av_transformer import AVTransformer
from pemt_tf.models.finite_outputs import require_finite
from pemt_tf.report.attention import SummaryAttention, segment_attention
from pemt_tf.report.clip_views import read_clip_views
from pemt_tf.report.contents import ClipView, Neighbours
from pemt_tf.search.knn import nearest, normalize

FRAMES_AT_ONCE = 256  # through the CNN, to bound memory
NEIGHBOURS_SHOWN = 5
HELD_OUT = ("test", "validation", "train")


@dataclass(frozen=True, eq=False)
class AttendedClip:
    """A clip and the attention of its summary tokens, arrays of one clip; absent modalities are left out."""

    clip: ClipView
    attention: tuple[SummaryAttention, ...]


@dataclass(frozen=True, eq=False)
class HeldOutClips:
    """Neighbours and attention of a few clips of a split, an entry for each."""

    split: str
    searched_split: str  # where neighbours were searched
    searched: int  # its number of clips
    neighbours: tuple[Neighbours, ...]
    attended: tuple[AttendedClip, ...]


def look_at_clips(backbone: AVTransformer, source: ClipSource, count: int, most_searched: int) -> HeldOutClips:
    """Embeds `count` held-out clips, of as many labels as possible, and the first `most_searched` training clips."""
    splits = [split for split in HELD_OUT if source.files.get(split)]
    if not splits:
        raise PemtError(f"{source.name} has no clips")
    asked, searched = splits[0], splits[-1]
    source.require_readable(asked)
    views = read_clip_views(source, source.files[asked], count)
    queries = _batch_of(source, asked, [view.clip_id for view in views])
    modalities = backbone.config.modalities
    inputs = model_inputs(queries, modalities)
    tokens = backbone.tokenize(backbone.local_features(inputs, training=False))
    masks = {modality: inputs[f"{modality}_mask"] for modality in modalities}
    attention, _ = segment_attention(backbone, tokens, masks)
    embeddings = backbone.contextualize(tokens, masks, training=False)["embedding"].numpy()
    known = _embed(backbone, source, searched, most_searched)
    ids = [clip_id.decode("utf-8", "replace") for clip_id in queries["id"].numpy()]
    require_finite(embeddings, ids, "the network's embedding")
    rows, cosines = nearest(normalize(embeddings), normalize(known[1]), NEIGHBOURS_SHOWN + 1)
    hits = []  # id and similarity of the neighbours of every query clip
    for own, places, values in zip(ids, rows, cosines.tolist(), strict=True):
        others = [(known[0][row], value) for row, value in zip(places, values, strict=True) if known[0][row] != own]
        hits.append(others[:NEIGHBOURS_SHOWN])
    wanted = sorted({clip_id for found in hits for clip_id, _ in found})
    seen = {view.clip_id: view for view in read_clip_views(source, source.files[searched], clip_ids=wanted)}
    by_id = {view.clip_id: view for view in views}
    neighbours = [
        Neighbours(by_id[own], tuple((seen[clip_id], value) for clip_id, value in found if clip_id in seen))
        for own, found in zip(ids, hits, strict=True)
    ]
    attended = [AttendedClip(by_id[clip_id], _of_clip(attention, masks, row)) for row, clip_id in enumerate(ids)]
    return HeldOutClips(asked, searched, len(known[0]), tuple(neighbours), tuple(attended))


def _batch_of(source: ClipSource, split: str, clip_ids: list[str]) -> dict[str, tf.Tensor]:
    """The clips with these ids as one batch, in the order of the records."""
    wanted, found = set(clip_ids), []
    for clip in read_batches(evaluation_clips(source, split, 1), source, split):
        clip_id = clip["id"].numpy()[0].decode("utf-8", "replace")
        if clip_id in wanted:
            wanted.discard(clip_id)
            found.append(clip)
        if not wanted:
            break
    return {name: tf.concat([clip[name] for clip in found], axis=0) for name in found[0]}


def _embed(backbone: AVTransformer, source: ClipSource, split: str, most: int) -> tuple[list[str], np.ndarray]:
    """Ids and embeddings [clips, hidden] of the first clips of a split."""
    geometry, modalities = source.geometry, backbone.config.modalities
    size = min(16, max(1, FRAMES_AT_ONCE // (geometry.segments * geometry.frames_per_segment)))

    def embed(batch: dict) -> tf.Tensor:
        return backbone(model_inputs(batch, modalities), training=False)["embedding"]

    ids, vectors = [], []
    for batch in SplitPass(source, embed, size).over(split, most=most, progress="embedding"):
        require_finite(batch.values, batch.ids, "the network's embedding")
        ids += batch.ids
        vectors.append(batch.values)
    return ids[:most], np.concatenate(vectors)[:most]


def _of_clip(attention: list[SummaryAttention], masks: dict, row: int) -> tuple[SummaryAttention, ...]:
    """One clip's attention; that from or to an absent modality is left out."""
    there = {modality for modality, mask in masks.items() if float(mask[row, 0]) > 0}
    return tuple(
        SummaryAttention(a.transformer, a.summary, a.attended, a.segments[row : row + 1], a.summaries[row : row + 1])
        for a in attention
        if {a.summary, a.attended} <= there
    )

"""Finds the clips whose embeddings are most like one embedding: exact, by one matrix product a block."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import tensorflow as tf
from google.protobuf.message import DecodeError

from pemt_tf.data import records
from pemt_tf.data.clip_source import ClipSource
from pemt_tf.data.damage import UnreadableClipsError, naming_damage, plain_cause
from pemt_tf.data.input_pipeline import read_batches
from pemt_tf.errors import PemtError
from pemt_tf.export.local_predictor import LocalPredictor
from pemt_tf.models.finite_outputs import finite_rows, require_finite
from pemt_tf.search.embedding_table import Block, EmbeddedClips, embedding_table

# Arrow columns of some rows -> [rows] bool, true where a clip may be found.
Filter = Callable[[pa.RecordBatch], np.ndarray]
FILTER_COLUMNS = ("id", "path", "split")
LABEL_SEPARATOR = "|"  # as in manifests
_BATCH = 16


class Searchable(Protocol):
    """`EmbeddedClips` or `EmbeddingStore`."""

    count: int
    width: int
    blocks: Callable
    take: Callable
    find: Callable
    vector: Callable


@dataclass(frozen=True)
class Hit:
    """A found clip.

    Attributes:
        clip_id, path: which clip of which file.
        label: empty without one.
        similarity: cosine, -1 to 1.
        start, end: seconds.
        split: empty without one.
        row: within what was searched.
    """

    clip_id: str
    path: str
    label: str
    similarity: float
    start: float = 0.0
    end: float = 0.0
    split: str = ""
    row: int = -1


def embed_split(predictor: LocalPredictor, source: ClipSource, split: str) -> EmbeddedClips:
    """Embeds every clip of a split, in this process; for small data sets (see `beam_jobs.embed`).

    Raises:
        PemtError: other geometry, no such split, clips are missing, unreadable records, embeddings that are not finite.
    """
    source.require_geometry(predictor.metadata.config.geometry)
    if source.payload != records.EXAMPLE:
        raise PemtError(
            f"{source.name} holds records of the form {source.payload!r}, which a SavedModel does not take; preprocess "
            f"the videos again with --payload {records.EXAMPLE}"
        )
    source.require_readable(split)
    rows, vectors = [], []
    batches = tf.data.TFRecordDataset(list(source.require_split(split)), source.compression).batch(_BATCH)
    for batch in read_batches(batches, source, split):
        with naming_damage(source, split):
            described, answer = _embed_records(predictor, list(batch.numpy()), split)
        require_finite(answer, [row["id"] for row in described], "the model's embedding")
        rows += described
        vectors.append(answer)
    source.require_count(split, len(rows))
    return EmbeddedClips(embedding_table(rows, np.concatenate(vectors)))


def _embed_records(predictor: LocalPredictor, serialized: list[bytes], split: str) -> tuple[list[dict], np.ndarray]:
    """What is known of some records, and their embeddings [clips, width].

    Raises:
        UnreadableClipsError: a record is not a clip of the model; names the clip where it has a name.
    """
    name = "?"
    try:
        described = [describe_record(tf.train.Example.FromString(raw), split) for raw in serialized]
        name = described[0]["id"]
        return described, predictor.answer(serialized)["embedding"]
    except (DecodeError, ValueError, tf.errors.InvalidArgumentError) as error:
        if len(serialized) > 1:  # which of them?
            parts = [_embed_records(predictor, [raw], split) for raw in serialized]
            return [row for rows, _ in parts for row in rows], np.concatenate([vectors for _, vectors in parts])
        raise UnreadableClipsError(
            f"clip {name!r} of split {split!r} is not one that the model can embed ({plain_cause(error)}); look at it, "
            "or preprocess again"
        ) from None


def describe_record(example: tf.train.Example, split: str | None) -> dict:
    """What an embedding's row tells about the clip of a record.

    Raises:
        ValueError: it is no record of ours.
    """
    feature = example.features.feature
    try:
        scalars = {name: feature[name].int64_list.value[0] for name in (records.START, records.END)}
        flags = {name: bool(feature[name].int64_list.value[0]) for name in (records.HAS_VIDEO, records.HAS_AUDIO)}
        clip_id = feature[records.CLIP_ID].bytes_list.value[0].decode()
        path = feature[records.DATA_PATH].bytes_list.value[0].decode("utf-8", "backslashreplace")
    except IndexError:
        raise ValueError("it lacks features that every clip has") from None
    labels = [label.decode() for label in feature[records.LABEL_STRING].bytes_list.value]
    return {
        "id": clip_id,
        "path": path,
        "start": scalars[records.START] / 1e6,
        "end": scalars[records.END] / 1e6,
        "label": LABEL_SEPARATOR.join(labels) or None,
        "split": split,
        "has_video": flags[records.HAS_VIDEO],
        "has_audio": flags[records.HAS_AUDIO],
    }


def search(
    clips: Searchable, query: np.ndarray, k: int, exclude: str | None = None, keep: Filter | None = None
) -> list[Hit]:
    """The k clips most like an embedding, best first, ties in order of rows; fewer where there are fewer.

    Args:
        clips: where to search.
        query: [width] float32.
        k: how many.
        exclude: id of a clip to leave out.
        keep: which clips may be found; is given the columns `FILTER_COLUMNS`.

    Raises:
        PemtError: the query has another width than the embeddings.
    """
    require_width(clips, query)
    rows, similarities = _nearest(clips, query, k, exclude, keep)
    return describe_hits(clips, rows, similarities)


def require_width(clips: Searchable, query: np.ndarray) -> None:
    """Refuses a query that cannot be compared.

    Raises:
        PemtError: with both widths.
    """
    if query.shape[-1] != clips.width:
        raise PemtError(
            f"the query has {query.shape[-1]} numbers, the embeddings have {clips.width}; they are of different models"
        )


def require_finite_block(clips: Searchable, block: Block) -> None:
    """Refuses embeddings that cannot be compared.

    Raises:
        PemtError: an embedding is NaN or infinite; names its clip.
    """
    rows = np.flatnonzero(~finite_rows(block.vectors))
    if len(rows):
        ids = [about["id"] for about in clips.take((block.first + rows).tolist())]
        require_finite(block.vectors[rows], ids, "the embedding")


def describe_hits(clips: Searchable, rows: list[int], similarities: list[float]) -> list[Hit]:
    """Fills in what is known of the found rows."""
    return [
        Hit(
            clip_id=about["id"],
            path=about["path"],
            label=about["label"] or "",
            similarity=similarity,
            start=about["start"],
            end=about["end"],
            split=about["split"] or "",
            row=row,
        )
        for row, similarity, about in zip(rows, similarities, clips.take(rows), strict=True)
    ]


def cosines(vectors: np.ndarray, query: np.ndarray) -> np.ndarray:
    """Cosine similarity of every row to the query; 0 where either is all zeros.

    Args:
        vectors: [rows, width] float32.
        query: [width] float32.

    Returns:
        [rows] float32.
    """
    lengths = np.sqrt(np.einsum("rw,rw->r", vectors, vectors)) * np.sqrt(query @ query)
    # Rounding may go a hair beyond 1.
    return np.clip(vectors @ query / np.maximum(lengths, np.finfo(np.float32).tiny), -1.0, 1.0)


def _nearest(
    clips: Searchable, query: np.ndarray, k: int, exclude: str | None, keep: Filter | None
) -> tuple[list[int], list[float]]:
    """Rows and similarities of the k best; only these are kept from block to block."""
    query = np.ascontiguousarray(query, np.float32)
    best_rows, best = np.zeros(0, np.int64), np.zeros(0, np.float32)
    columns = FILTER_COLUMNS if keep is not None or exclude is not None else ()
    for block in clips.blocks(columns):
        require_finite_block(clips, block)
        similarity = cosines(block.vectors, query)
        rows = np.arange(block.first, block.first + len(similarity))
        if columns:
            wanted = np.ones(len(rows), bool) if keep is None else keep(block.about)
            if exclude is not None:
                wanted &= ~equals(block.about, "id", exclude)
            rows, similarity = rows[wanted], similarity[wanted]
        rows, similarity = np.concatenate([best_rows, rows]), np.concatenate([best, similarity])
        order = np.argsort(-similarity, kind="stable")[:k]
        best_rows, best = rows[order], similarity[order]
    return best_rows.tolist(), best.tolist()


def equals(about: pa.RecordBatch, column: str, value: str) -> np.ndarray:
    """[rows] bool: where a text column has this value; null never has."""
    same = pc.fill_null(pc.equal(about.column(about.schema.names.index(column)), pa.scalar(value)), False)
    return same.to_numpy(zero_copy_only=False).copy()

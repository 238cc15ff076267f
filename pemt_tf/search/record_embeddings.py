"""Embeds the records of a small data set in this process, for one search; `beam_jobs.embed` is for large ones."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError

from pemt_tf.data import records
from pemt_tf.data.clip_source import ClipSource
from pemt_tf.data.damage import UnreadableClipsError, naming_damage, plain_cause
from pemt_tf.data.input_pipeline import read_batches
from pemt_tf.errors import PemtError
from pemt_tf.export.local_predictor import LocalPredictor
from pemt_tf.models.finite_outputs import require_finite
from pemt_tf.search.embedding_table import ALIGNED, VECTOR, EmbeddedClips, embedding_table, nothing_aligned

_LABEL_SEPARATOR = "|"  # as in manifests
_BATCH = 16


def embed_split(predictor: LocalPredictor, source: ClipSource, split: str, column: str = VECTOR) -> EmbeddedClips:
    """Embeds every clip of a split; raises PemtError if one is missing or unreadable, or an embedding not finite.

    `column` is what is searched afterwards: the embeddings, or one of the columns `ALIGNED`.
    """
    source.require_geometry(predictor.metadata.config.geometry)
    if source.payload != records.EXAMPLE:
        raise PemtError(
            f"{source.name} holds records of the form {source.payload!r}, which a SavedModel does not take; preprocess "
            f"the videos again with --payload {records.EXAMPLE}"
        )
    source.require_readable(split)
    rows: list[dict] = []
    answers: list[dict[str, np.ndarray]] = []
    batches = tf.data.TFRecordDataset(list(source.require_split(split)), source.compression).batch(_BATCH)
    for batch in read_batches(batches, source, split):
        with naming_damage(source, split):
            described, answer = _embed_records(predictor, list(batch.numpy()), split)
        for values in answer.values():
            require_finite(values, [row["id"] for row in described], "the model's embedding")
        rows += described
        answers.append(answer)
    source.require_count(split, len(rows))
    if column != VECTOR and not any(row[ALIGNED[column]] for row in rows):
        raise nothing_aligned(f"split {split!r} of {source.name}", column)
    vectors = {name: np.concatenate([answer[name] for answer in answers]) for name in answers[0]}
    return EmbeddedClips(embedding_table(rows, vectors.pop("embedding"), vectors), column)


def _embed_records(
    predictor: LocalPredictor, serialized: list[bytes], split: str
) -> tuple[list[dict], dict[str, np.ndarray]]:
    """The columns `ABOUT` of some records; and `embedding`, and the columns `ALIGNED` if any, [clips, width] each.

    Raises UnreadableClipsError, which names the clip where it has a name, for a record that is not a clip of the model.
    """
    name = "?"
    try:
        described = [describe_record(tf.train.Example.FromString(raw), split) for raw in serialized]
        name = described[0]["id"]
        answer = predictor.answer(serialized)
        return described, {name: answer[name] for name in ("embedding", *ALIGNED) if name in answer}
    except (DecodeError, ValueError, tf.errors.InvalidArgumentError) as error:
        if len(serialized) > 1:  # one at a time, to name the clip
            parts = [_embed_records(predictor, [raw], split) for raw in serialized]
            answers = [answer for _, answer in parts]
            joined = {name: np.concatenate([answer[name] for answer in answers]) for name in answers[0]}
            return [row for rows, _ in parts for row in rows], joined
        raise UnreadableClipsError(
            f"clip {name!r} of split {split!r} is not one that the model can embed ({plain_cause(error)}); look at it, "
            "or preprocess again"
        ) from None


def describe_record(example: tf.train.Example, split: str | None) -> dict:
    """The columns `embedding_table.ABOUT` of a record's clip; raises ValueError if the record is not one of ours."""
    feature = example.features.feature
    try:
        numbers = {
            name: feature[name].int64_list.value[0]
            for name in (records.START, records.END, records.HAS_VIDEO, records.HAS_AUDIO)
        }
        clip_id = feature[records.CLIP_ID].bytes_list.value[0].decode()
        path = feature[records.DATA_PATH].bytes_list.value[0].decode("utf-8", "backslashreplace")
    except IndexError:
        raise ValueError("it lacks features that every clip has") from None
    labels = [label.decode() for label in feature[records.LABEL_STRING].bytes_list.value]
    return {
        "id": clip_id,
        "path": path,
        "start": numbers[records.START] / 1e6,
        "end": numbers[records.END] / 1e6,
        "label": _LABEL_SEPARATOR.join(labels) or None,
        "split": split,
        "has_video": bool(numbers[records.HAS_VIDEO]),
        "has_audio": bool(numbers[records.HAS_AUDIO]),
    }

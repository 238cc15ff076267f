"""Embeddings of clips as TensorBoard's projector reads them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf

from pemt_tf.data.clip_source import ClipSource
from pemt_tf.data.input_pipeline import evaluation_clips, model_inputs, read_batches
from pemt_tf.errors import PemtError
from pemt_tf.models.av_transformer import AVTransformer
from pemt_tf.models.finite_outputs import finite_rows

MOST_CLIPS = 1000
TENSORS, METADATA, CONFIG = "clip_embeddings.tsv", "clip_labels.tsv", "projector_config.pbtxt"
_SPLITS = ("validation", "train")  # the test split is for tests


def shown_split(source: ClipSource) -> str | None:
    """The split whose clips are shown; None where the data set has neither."""
    return next((name for name in _SPLITS if source.files.get(name)), None)


def require_shown_split(source: ClipSource, split: str) -> None:
    """Refuses damaged clips of the split that is shown before training rather than after it.

    Args:
        source: the records.
        split: which is trained on and was looked at already.

    Raises:
        PemtError: clips are missing, or the files cannot be read.
    """
    shown = shown_split(source)
    if shown not in (None, split):
        source.require_readable(shown)


def write_projector(
    folder: Path, backbone: AVTransformer, source: ClipSource, batch_size: int, most: int = MOST_CLIPS
) -> None:
    """Embeds the first clips of the validation split, or of the training split where there is none.

    Clips without any of the model's streams are left out, and clips whose embedding is not finite.

    Args:
        folder: of TensorBoard's events.
        backbone: with its final weights.
        source: the records.
        batch_size: clips at once.
        most: how many clips.

    Raises:
        PemtError: the folder cannot be written.
    """
    split = shown_split(source)
    if split is None:
        return
    batches = read_batches(evaluation_clips(source, split, batch_size), source, split)
    embeddings, ids, labels = _embed(backbone, batches, most)
    rows = ["\t".join(f"{value:.6g}" for value in row) for row in embeddings]
    names = [source.labels[label] if label >= 0 else "-" for label in labels]
    about = ["id\tlabel\tsplit", *(f"{_plain(i)}\t{_plain(n)}\t{split}" for i, n in zip(ids, names, strict=True))]
    config = f'embeddings {{\n  tensor_name: "clips"\n  tensor_path: "{TENSORS}"\n  metadata_path: "{METADATA}"\n}}\n'
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in ((TENSORS, _lines(rows)), (METADATA, _lines(about)), (CONFIG, config)):
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise PemtError(f"cannot write to {folder}: {error.strerror}; free some space and run again") from None


def _embed(backbone: AVTransformer, batches: Iterator[dict], most: int) -> tuple[np.ndarray, list[str], list[int]]:
    modalities = backbone.config.modalities

    @tf.function
    def embed(batch: dict):
        return tf.cast(backbone(model_inputs(batch, modalities), training=False)["embedding"], tf.float32)

    parts, ids, labels = [], [], []
    for batch in batches:
        inputs = {name: value for name, value in batch.items() if value.dtype != tf.string}
        there = np.max([batch[f"{m}_mask"].numpy().max(1) for m in modalities], axis=0) > 0
        vectors = embed(inputs).numpy()
        there &= finite_rows(vectors)
        parts.append(vectors[there])
        ids += [i.decode("utf-8", "replace") for i in batch["id"].numpy()[there]]
        labels += batch["label"].numpy()[there].tolist()
        if len(ids) >= most:
            break
    return np.concatenate(parts)[:most], ids[:most], labels[:most]


def _plain(text: str) -> str:
    return " ".join(text.split())


def _lines(rows: list[str]) -> str:
    return "".join(row + "\n" for row in rows)

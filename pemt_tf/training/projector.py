"""Embeddings of clips in the format of TensorBoard's projector."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf

from pemt_tf.data.clip_source import ClipSource
from pemt_tf.data.input_pipeline import model_inputs
from pemt_tf.data.split_pass import SplitPass
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
    """Checks the clips of the shown split before training rather than after it; `split`, the training's, is checked."""
    shown = shown_split(source)
    if shown not in (None, split):
        source.require_readable(shown)


def write_projector(
    folder: Path, backbone: AVTransformer, source: ClipSource, batch_size: int, most: int = MOST_CLIPS
) -> None:
    """Embeds the first clips of the validation split, or of the training split where there is none.

    Clips without any of the model's modalities are left out, and clips whose embedding is not finite.
    """
    split = shown_split(source)
    if split is None:
        return
    modalities = backbone.config.modalities

    def embed(batch: dict) -> tuple[tf.Tensor, tf.Tensor]:
        present = tf.reduce_any(
            [tf.reduce_any(batch[f"{modality}_mask"] > 0, axis=1) for modality in modalities], axis=0
        )
        return present, tf.cast(backbone(model_inputs(batch, modalities), training=False)["embedding"], tf.float32)

    rows, about = [], ["id\tlabel\tsplit"]
    for batch in SplitPass(source, embed, batch_size).over(split, most=most):
        present, vectors = batch.values
        for place in np.flatnonzero(present & finite_rows(vectors)):
            label = source.labels[batch.labels[place]] if batch.labels[place] >= 0 else "-"
            rows.append("\t".join(f"{value:.6g}" for value in vectors[place]))
            about.append(f"{_plain(batch.ids[place])}\t{_plain(label)}\t{split}")
    config = f'embeddings {{\n  tensor_name: "clips"\n  tensor_path: "{TENSORS}"\n  metadata_path: "{METADATA}"\n}}\n'
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in ((TENSORS, _lines(rows[:most])), (METADATA, _lines(about[: most + 1])), (CONFIG, config)):
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise PemtError(f"cannot write to {folder}: {error.strerror}; free some space and run again") from None


def _plain(text: str) -> str:
    return " ".join(text.split())


def _lines(rows: list[str]) -> str:
    return "".join(row + "\n" for row in rows)

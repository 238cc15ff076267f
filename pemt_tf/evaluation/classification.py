"""Accuracy of a classifier on a held-out split, with its uncertainty."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

from pemt_tf.data.clip_source import ClipSource
from pemt_tf.data.input_pipeline import evaluation_clips, model_inputs, read_batches
from pemt_tf.errors import PemtError
from pemt_tf.training.run_directory import RunDirectory

_NORMAL_95 = 1.959963984540054


@dataclass(frozen=True)
class Evaluation:
    """What came out, clip by clip and in sum.

    Attributes:
        split: which clips.
        labels: the vocabulary, rows and columns of `confusion`.
        clips: number of labelled clips.
        accuracy: share of clips whose most probable label is theirs.
        interval: 95 % Wilson interval of the accuracy.
        top5: share of clips whose label is among the five most probable.
        chance: accuracy of guessing uniformly.
        confusion: [true][predicted] counts.
        predictions: per clip, `id`, `label`, `predicted` and `probability` of the predicted label.
    """

    split: str
    labels: list[str]
    clips: int
    accuracy: float
    interval: tuple[float, float]
    top5: float
    chance: float
    confusion: list[list[int]]
    predictions: list[dict]

    @property
    def summary(self) -> str:
        """One line for people."""
        low, high = self.interval
        return (
            f"{self.split}: accuracy {self.accuracy:.1%} (95 % interval {low:.1%} to {high:.1%}) "
            f"on {self.clips} clips; chance {self.chance:.1%}; top-5 {self.top5:.1%}"
        )

    def write(self, path: Path) -> None:
        """Writes everything as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")


def wilson_interval(correct: int, total: int, z: float = _NORMAL_95) -> tuple[float, float]:
    """Wilson score interval of a proportion; it stays within 0 and 1 and is honest for few trials."""
    share, z2 = correct / total, z * z
    centre = (share + z2 / (2 * total)) / (1 + z2 / total)
    half = z / (1 + z2 / total) * math.sqrt(share * (1 - share) / total + z2 / (4 * total * total))
    return max(0.0, centre - half), min(1.0, centre + half)


def evaluate(run: RunDirectory, source: ClipSource, split: str = "test", batch_size: int = 16) -> Evaluation:
    """Classifies every labelled clip of a split with the centre crop.

    Args:
        run: a finished fine-tuning run.
        source: records of the same geometry and vocabulary.
        split: which clips.
        batch_size: clips at once.

    Raises:
        PemtError: no classifier, other geometry or labels, no labelled clip.
    """
    model, labels = run.load_classifier()
    source.require_geometry(run.config().geometry)
    require_labels(labels, source)
    modalities = model.backbone.config.modalities
    classify = tf.function(lambda batch: model(model_inputs(batch, modalities), training=False)["probabilities"])
    truth, probabilities, ids = [], [], []
    for batch in read_batches(evaluation_clips(source, split, batch_size, labelled=True)):
        probabilities.append(classify(batch).numpy())
        truth.append(batch["label"].numpy())
        ids += [i.decode() for i in batch["id"].numpy()]
    if not ids:
        raise PemtError(f"{source.name}: split {split!r} holds no labelled clip to evaluate on")
    return summarize(split, list(labels), np.concatenate(truth), np.concatenate(probabilities), ids)


def summarize(
    split: str, labels: list[str], truth: np.ndarray, probabilities: np.ndarray, ids: list[str]
) -> Evaluation:
    """Turns probabilities [clips, classes] and true labels [clips] into an `Evaluation`."""
    predicted = probabilities.argmax(-1)
    confusion = np.zeros((len(labels), len(labels)), int)
    np.add.at(confusion, (truth, predicted), 1)
    correct = int((predicted == truth).sum())
    best = np.argsort(-probabilities, axis=-1, kind="stable")[:, :5]
    return Evaluation(
        split=split,
        labels=labels,
        clips=len(truth),
        accuracy=correct / len(truth),
        interval=wilson_interval(correct, len(truth)),
        top5=float((best == truth[:, None]).any(-1).mean()),
        chance=1 / len(labels),
        confusion=confusion.tolist(),
        predictions=[
            {"id": i, "label": labels[t], "predicted": labels[p], "probability": float(row[p])}
            for i, t, p, row in zip(ids, truth, predicted, probabilities, strict=True)
        ],
    )


def require_labels(labels: tuple[str, ...], source: ClipSource) -> None:
    """Refuses records whose vocabulary is not the model's: label numbers would mean other things.

    Raises:
        PemtError: naming what differs.
    """
    if labels != source.labels:
        unknown = [label for label in source.labels if label not in labels]
        detail = f"label {unknown[0]!r} is not one of the model's" if unknown else "the order or number differs"
        raise PemtError(
            f"{source.name} has other labels than the model ({detail}); evaluate on records made in one go with the "
            "training records"
        )

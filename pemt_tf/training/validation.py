"""Measures a classifier during training, on a split that it is not trained on."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from pemt_tf.config.training import FinetuneConfig
from pemt_tf.data.clip_source import ClipSource
from pemt_tf.data.input_pipeline import evaluation_clips, model_inputs, read_batches
from pemt_tf.data.split_pass import SplitPass
from pemt_tf.errors import PemtError
from pemt_tf.evaluation.ranking import mean_average_precision
from pemt_tf.models.finite_outputs import require_finite
from pemt_tf.models.heads import AVClassifier
from pemt_tf.training.classification_losses import classification_losses

PRECISION = "mean_average_precision"


class Validation:
    """Accuracy and loss on all labelled clips of a split, with the centre crop; without smoothing and mixup.

    With several labels it measures the mean average precision in the place of the accuracy. The model may be under any
    strategy; one device validates.
    """

    def __init__(self, model: AVClassifier, source: ClipSource, settings: FinetuneConfig):
        self._split = settings.validation_split

        def terms(batch: dict) -> tuple[dict, tf.Tensor, tf.Tensor]:
            outputs = model(model_inputs(batch, model.backbone.config.modalities), training=False)
            labels = batch["targets" if settings.several else "label"]
            terms = classification_losses(outputs, labels, loss=settings.loss, margin=settings.margin)
            return terms, tf.concat(list(outputs["logits"].values()), axis=-1), outputs[model.prediction]

        self._several = settings.several
        self._pass = SplitPass(source, terms, settings.part_size, every_label=settings.several)

    def __call__(self) -> dict[str, float]:
        """`validation_loss`, the loss of every head and `judged_by(settings)`; means over clips."""
        scores, truth = [], []
        sums: dict[str, float] = {}
        count = 0
        for batch in self._pass.over(self._split, labelled=True):
            terms, logits, predictions = batch.values
            require_finite(logits, batch.ids, f"the network's prediction on split {self._split!r}")
            for name, value in terms.items():
                sums[name] = sums.get(name, 0.0) + float(value) * len(batch.ids)
            count += len(batch.ids)
            if self._several:
                scores.append(predictions)
                truth.append(batch.targets)
        measured = {name: value / count for name, value in sums.items()}
        if self._several:
            measured[PRECISION] = mean_average_precision(np.concatenate(scores), np.concatenate(truth)) or 0.0
        return {f"validation_{name}": value for name, value in measured.items()}


def judged_by(settings: FinetuneConfig) -> str:
    """The measurement that says how good weights are, the higher the better."""
    return f"validation_{PRECISION if settings.several else 'accuracy'}"


def can_validate(source: ClipSource, settings: FinetuneConfig, training_split: str) -> bool:
    """Whether there are labelled clips to validate on, other than the training clips; a PemtError if needed."""
    split, problem = settings.validation_split, ""
    if split == training_split:
        problem = f"weights cannot be selected on the split {split!r}, which they are trained on"
    elif not source.files.get(split):
        problem = (
            f"{source.name} has no split {split!r} to select weights on; put some clips into one (a folder "
            f"`{split}/` or a manifest), or train for a fixed number of steps: --set finetune.select=last"
        )
    else:
        clips = evaluation_clips(source, split, 1, labelled=True).take(1)
        if next(read_batches(clips, source, split), None) is None:
            problem = f"{source.name}: split {split!r} holds no labelled clip to select weights on"
    if problem and settings.select == "best_validation":
        raise PemtError(problem)
    return not problem

"""A training task: model, optimizer, data, and everything that its checkpoints hold."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from pemt_tf.config.augmentation import AugmentationConfig
from pemt_tf.config.training import TrainingConfig
from pemt_tf.data.clip_source import ClipSource
from pemt_tf.data.clip_stream import EVERYTHING, WorkerShare
from pemt_tf.data.input_pipeline import training_clips
from pemt_tf.errors import PemtError
from pemt_tf.training.best_weights import BestWeights, Score
from pemt_tf.training.loss_scale import LossScale
from pemt_tf.training.optimizers import ParameterGroup, make_optimizer
from pemt_tf.training.weight_average import WeightAverage, float_weights


@dataclass
class TrainingTask:
    """A model with its optimizer, both built under the strategy's scope, and its data; made by `make_task`."""

    name: str  # first words of the progress line
    model: keras.Model
    optimizer: keras.optimizers.Optimizer
    losses: Callable[[dict], dict]  # from a batch of one replica to scalars, among them `loss`, the mean over it
    clips: Callable[[int], tf.data.Dataset]  # from the first step to its batches of `settings.part_size` clips
    settings: TrainingConfig
    schedule: Callable[[int], Any]  # from the number of earlier steps to the learning rate
    shown: tuple[str, ...] = ("loss",)  # metrics of the progress line
    hyperparameters: dict[str, Any] = field(default_factory=dict)  # of TensorBoard
    modalities: tuple[str, ...] = ()  # that TensorBoard shows
    show_embeddings: Callable[[Path], None] | None = None  # writes them for TensorBoard, with the final weights
    validate: Callable[[], dict[str, float]] | None = None  # `validation_accuracy`, `validation_loss` and so on
    judged_by: str = "validation_accuracy"  # what the best weights have the highest of
    validate_every: int = 0
    average: WeightAverage | None = None
    loss_scale: LossScale | None = None
    best: BestWeights | None = None

    @property
    def state(self) -> list:
        """Every array of the run, in a fixed order."""
        averages = self.average.variables if self.average else []
        return [
            *self.model.variables,
            *self.optimizer.variables,
            *averages,
            *(self.best.arrays if self.best else []),
        ]

    def notes(self) -> dict[str, Any]:
        """The state of the run besides arrays."""
        notes = {}
        if self.loss_scale is not None:
            notes["loss_scale"] = [self.loss_scale.value, self.loss_scale.good_steps]
        if self.best is not None and self.best.score is not None:
            notes["best"] = [self.best.score.step, self.best.score.accuracy, self.best.score.loss]
        return notes

    def take_notes(self, notes: dict[str, Any]) -> None:
        """The inverse of `notes`."""
        if self.loss_scale is not None and "loss_scale" in notes:
            self.loss_scale.value, self.loss_scale.good_steps = notes["loss_scale"]
        if self.best is not None and "best" in notes:
            self.best.score = Score(*notes["best"])

    def averaged(self) -> contextlib.AbstractContextManager:
        """Gives the model its averaged weights, if there are any, within the block."""
        return self.average.applied() if self.average else contextlib.nullcontext()

    def score(self, step: int) -> dict[str, float]:
        """Validates, with averaged weights if there are any, and remembers the weights if they are the best so far."""
        assert self.validate is not None
        with self.averaged():
            row = self.validate()
            if self.best is not None:
                self.best.offer(Score(step, row[self.judged_by], row["validation_loss"]))
        return row

    def finish(self) -> None:
        """Gives the model the weights that the run ends with."""
        if self.best is not None and self.best.score is not None:
            self.best.apply()
        elif self.average is not None:
            self.average.apply()


def batches_from(
    settings: TrainingConfig,
    source: ClipSource,
    split: str,
    augmentation: AugmentationConfig,
    wanted: dict[str, Any],
    first_step: int,
    share: WorkerShare = EVERYTHING,
) -> tf.data.Dataset:
    """The endless stream of batches from a step on; `wanted` are further arguments of `training_clips`."""
    start = first_step * settings.accumulation
    return training_clips(
        source, split, settings.part_size, settings.seed, start, augmentation=augmentation, share=share, **wanted
    )


def make_task(
    name: str,
    model: keras.Model,
    losses: Callable[[dict], dict],
    clips: Callable[[int], tf.data.Dataset],
    settings: TrainingConfig,
    schedule: keras.optimizers.schedules.LearningRateSchedule,
    groups: Sequence[ParameterGroup] = (),
    keep_best: bool = False,
    **more: Any,
) -> TrainingTask:
    """Makes a task; called under the strategy's scope, with the model built, loaded and frozen.

    With `keep_best` the run ends with the weights that validate best.
    """
    if not model.trainable_variables:
        raise PemtError("every part of the model is frozen, so there is nothing to train; freeze less")
    optimizer = make_optimizer(settings, schedule, groups)
    optimizer.build(model.trainable_variables)
    weights = float_weights(model)
    return TrainingTask(
        name,
        model,
        optimizer,
        losses,
        clips,
        settings,
        schedule,
        average=WeightAverage(weights, settings.ema) if settings.ema else None,
        loss_scale=LossScale() if settings.precision == "mixed_float16" else None,
        best=BestWeights(weights) if keep_best else None,
        **more,
    )

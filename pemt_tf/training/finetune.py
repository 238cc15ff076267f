"""Supervised fine-tuning of the whole model, or of its heads only (docs/reference_model.md section 13)."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pathlib import Path

import keras
import tensorflow as tf

from pemt_tf.config import Config
from pemt_tf.config.training import FinetuneConfig
from pemt_tf.data.clip_source import ClipSource
from pemt_tf.data.few_labels import few_labelled
from pemt_tf.data.input_pipeline import model_inputs
from pemt_tf.models.heads import AVClassifier
from pemt_tf.training.classification_losses import classification_losses
from pemt_tf.training.event_log import hyperparameters
from pemt_tf.training.freezing import freeze
from pemt_tf.training.history import run_description
from pemt_tf.training.loop import train_run
from pemt_tf.training.mixup import mix_with_neighbours, mixed_losses
from pemt_tf.training.optimizers import finetune_groups
from pemt_tf.training.precision import dtype_policy
from pemt_tf.training.projector import require_shown_split, write_projector
from pemt_tf.training.run_directory import RunDirectory, make_classifier
from pemt_tf.training.schedules import make_schedule
from pemt_tf.training.strategy import is_chief, make_strategy, require_divisible
from pemt_tf.training.task import TrainingTask, batches_from, make_task
from pemt_tf.training.validation import Validation, can_validate, judged_by


def finetune(
    config: Config,
    source: ClipSource,
    output: str | Path,
    initial: RunDirectory | None = None,
    split: str = "train",
) -> RunDirectory:
    """Trains a classifier on the labelled clips of a split.

    Args:
        config: geometry, model and fine-tuning settings.
        source: the records.
        output: folder of the run.
        initial: a pretraining run to start from; None starts from random weights.
        split: the split to train on.

    Returns:
        The finished run.

    Raises:
        PemtError: geometry or model differ, no labelled clip, a label without training clip, no validation split where
            one is needed, another run is in the folder or is being trained in it.
    """
    source.require_geometry(config.geometry)
    source.require_known_labels()
    settings = config.finetune
    strategy = make_strategy()
    policy = dtype_policy(settings)
    require_divisible("finetune.batch_size", settings.part_size, strategy)
    if initial is not None:
        initial.require_model(config.model)
    validates = can_validate(source, settings, split)
    few = settings.labels_per_class
    several = settings.several
    chosen = few_labelled(source, split, few, settings.seed, several) if few else None
    wanted = {"labelled": True, "streams": settings.streams, "only": chosen, "mixup": settings.mixup}
    wanted |= {"every_label": several, "balanced": settings.sampling == "classes"}
    clips = functools.partial(batches_from, settings, source, split, config.augmentation, wanted)
    clips(0)  # refuses data without a usable clip, before anything is written
    require_shown_split(source, split)
    if not several and is_chief() and (note := _unused_labels(source, split)):
        sys.stderr.write(f"{note}\n")

    run = RunDirectory(Path(output), writes=is_chief())
    make = functools.partial(_make_task, config, source, run, initial, clips, policy, validates)
    description = run_description("finetune", source, split, initial, labels=list(source.labels))
    if settings.select == "best_validation":
        description["selection"] = "best validation step"
    return train_run(run, config, description, source, strategy, make)


def _unused_labels(source: ClipSource, split: str) -> str:
    """A note on labels that are not learned; empty if no clip has several."""
    unused = source.given_labels.get(split, 0) - source.labelled.get(split, 0)
    if unused <= 0:
        return ""
    return (
        f"note: clips of split {split!r} have {unused:,} labels besides their first one, which are not learned; "
        "--set finetune.labels=multiple learns all"
    )


def _make_task(
    config: Config,
    source: ClipSource,
    run: RunDirectory,
    initial: RunDirectory | None,
    clips: Callable[..., tf.data.Dataset],
    policy: keras.DTypePolicy,
    validates: bool,
) -> TrainingTask:
    """The model and its optimizer, under the strategy's scope."""
    settings = config.finetune
    model = make_classifier(config, len(source.labels), policy)
    if initial is not None:
        initial.load_backbone_into(model.backbone)
    freeze(model.backbone, ("backbone",) if settings.finetune_learning_rate == 0 else settings.frozen)
    if initial is not None:
        run.keep_aligned_space(initial, same_backbone=not model.backbone.trainable_variables)
    return make_task(
        "finetune",
        model,
        _losses_of(model, settings),
        clips,
        settings,
        make_schedule(settings.schedule, settings.base_learning_rate, settings.steps, settings.warmup_steps),
        groups=finetune_groups(settings.base_learning_rate, settings.finetune_learning_rate),
        keep_best=settings.select == "best_validation",
        shown=("loss", "accuracy", judged_by(settings)),
        hyperparameters=hyperparameters(config, "finetune"),
        modalities=config.model.modalities,
        show_embeddings=lambda folder: write_projector(folder, model.backbone, source, settings.part_size),
        validate=Validation(model, source, settings) if validates else None,
        judged_by=judged_by(settings),
        validate_every=settings.validate_every,
    )


def _losses_of(model: AVClassifier, settings: FinetuneConfig) -> Callable[[dict], dict]:
    kind = (settings.label_smoothing, settings.loss, settings.margin)

    def losses(batch: dict) -> dict:
        inputs = model_inputs(batch, model.backbone.config.modalities)
        labels = batch["targets" if settings.several else "label"]
        if not settings.mixup:
            return classification_losses(model(inputs, training=True), labels, *kind)
        mixed, weight = mix_with_neighbours(inputs, batch["mixup_weight"])
        return mixed_losses(model(mixed, training=True), labels, weight, *kind)

    return losses

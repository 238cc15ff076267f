"""Supervised fine-tuning of the whole model, or of its heads only (REFERENCE.md section 13)."""

from __future__ import annotations

from pathlib import Path

import keras
import tensorflow as tf

from pemt_tf.config import Config
from pemt_tf.config.training import FinetuneConfig, warmup_steps
from pemt_tf.data.clip_source import ClipSource
from pemt_tf.data.damage import naming_damage
from pemt_tf.data.few_labels import few_labelled
from pemt_tf.data.input_pipeline import model_inputs, training_clips
from pemt_tf.data.share import EVERYTHING, WorkerShare
from pemt_tf.models.heads import AVClassifier
from pemt_tf.training.classification_losses import classification_losses
from pemt_tf.training.event_log import hyperparameters
from pemt_tf.training.freezing import freeze
from pemt_tf.training.history import initial_entries
from pemt_tf.training.loop import train
from pemt_tf.training.mixup import mix_with_neighbours, mixed_losses
from pemt_tf.training.optimizers import finetune_groups
from pemt_tf.training.precision import dtype_policy
from pemt_tf.training.projector import require_shown_split, write_projector
from pemt_tf.training.run_directory import RunDirectory
from pemt_tf.training.schedules import make_schedule
from pemt_tf.training.strategy import is_chief, make_strategy, require_divisible
from pemt_tf.training.task import TrainingTask, make_task
from pemt_tf.training.validation import Validation, has_validation_split, require_validation_split


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
        split: which clips.

    Returns:
        The finished run.

    Raises:
        PemtError: geometry or model differ, no labelled clip, a label without training clip, no validation split where
            one is needed, another run in the folder or at work in it.
    """
    source.require_geometry(config.geometry)
    source.require_known_labels()
    settings = config.finetune
    strategy = make_strategy()
    policy = dtype_policy(settings, "finetune")
    require_divisible("finetune.batch_size", settings.part_size, strategy)
    if initial is not None:
        initial.require_model(config.model)
    if settings.select == "best_validation":
        require_validation_split(source, settings, split)
    validates = has_validation_split(source, settings, split)

    chosen = None
    if settings.labels_per_class:
        chosen = few_labelled(source, split, settings.labels_per_class, settings.seed)

    def clips(start_step: int, share: WorkerShare = EVERYTHING) -> tf.data.Dataset:
        return training_clips(
            source,
            split,
            settings.part_size,
            settings.seed,
            start_step * settings.accumulation,
            labelled=True,
            streams=settings.streams,
            only=chosen,
            augmentation=config.augmentation,
            mixup=settings.mixup,
            share=share,
        )

    clips(0)  # refuses data without a usable clip, before anything is written
    require_shown_split(source, split)
    run = RunDirectory(Path(output), writes=is_chief())
    description = {
        "kind": "finetune",
        "labels": list(source.labels),
        "data": source.name,
        "data_hash": source.content_hash,
        "split": split,
        **initial_entries(initial),
        "selection": "best validation step" if settings.select == "best_validation" else "last step",
    }
    with run.alone():
        if not run.start(config, description):
            run.say_finished()
            return run
        keras.utils.set_random_seed(settings.seed)
        with strategy.scope():
            task = _make_task(config, source, initial, clips, policy, validates)
        with naming_damage(source, split):
            train(task, run, strategy)
        run.save_model(task.model)
    return run


def _make_task(
    config: Config, source: ClipSource, initial: RunDirectory | None, clips, policy, validates: bool
) -> TrainingTask:
    """Model and optimizer, under the strategy's scope."""
    settings, modalities = config.finetune, config.model.modalities
    model = AVClassifier(
        config.model, len(source.labels), settings.head_dropout, settings.streams, dtype=policy, name="classifier"
    )
    model.build()
    if initial is not None:
        initial.load_backbone_into(model.backbone)
    freeze(model.backbone, ("backbone",) if settings.finetune_learning_rate == 0 else settings.frozen)
    return make_task(
        "finetune",
        model,
        _losses_of(model, settings, modalities),
        clips,
        settings,
        make_schedule(
            settings.schedule,
            settings.base_learning_rate,
            settings.steps,
            warmup_steps(settings.steps, settings.warmup_fraction),
        ),
        groups=finetune_groups(settings.base_learning_rate, settings.finetune_learning_rate),
        keep_best=settings.select == "best_validation",
        shown=("loss", "accuracy", "validation_accuracy"),
        hyperparameters=hyperparameters(config, "finetune"),
        streams=modalities,
        show_embeddings=lambda folder: write_projector(folder, model.backbone, source, settings.part_size),
        validate=Validation(model, source, settings) if validates else None,
        validate_every=settings.validate_every,
    )


def _losses_of(model: AVClassifier, settings: FinetuneConfig, modalities: tuple[str, ...]):
    kind = (settings.label_smoothing, settings.loss, settings.margin)

    def losses(batch: dict) -> dict:
        inputs, labels = model_inputs(batch, modalities), batch["label"]
        if not settings.mixup:
            return classification_losses(model(inputs, training=True), labels, *kind)
        mixed, weight = mix_with_neighbours(inputs, batch["mixup_weight"])
        return mixed_losses(model(mixed, training=True), labels, weight, *kind)

    return losses

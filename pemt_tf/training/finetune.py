"""Supervised fine-tuning of the whole model, or of its heads only (REFERENCE.md section 13)."""

from __future__ import annotations

from pathlib import Path

import keras
import tensorflow as tf

from pemt_tf.config import Config
from pemt_tf.data.clip_source import ClipSource
from pemt_tf.data.input_pipeline import model_inputs, training_clips
from pemt_tf.models.heads import AVClassifier
from pemt_tf.training.classification_losses import classification_losses
from pemt_tf.training.loop import TrainingTask, train
from pemt_tf.training.mixup import mix_with_neighbours, mixed_losses
from pemt_tf.training.optimizers import TorchAdam, finetune_groups
from pemt_tf.training.run_directory import RunDirectory
from pemt_tf.training.schedules import make_schedule
from pemt_tf.training.strategy import make_strategy, require_divisible
from pemt_tf.training_config import FinetuneConfig, warmup_steps


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
        PemtError: geometry or model differ, no labelled clip, a label without training clip, another run in the folder.
    """
    source.require_geometry(config.geometry)
    source.require_known_labels()
    settings = config.finetune
    strategy = make_strategy()
    require_divisible("finetune.batch_size", settings.batch_size, strategy)
    if initial is not None:
        initial.require_model(config.model)

    def clips(start_step: int) -> tf.data.Dataset:
        return training_clips(
            source,
            split,
            settings.batch_size,
            settings.seed,
            start_step,
            labelled=True,
            augmentation=config.augmentation,
            mixup=settings.mixup,
        )

    clips(0)  # refuses data without a usable clip, before anything is written
    run = RunDirectory(Path(output))
    description = {
        "kind": "finetune",
        "labels": list(source.labels),
        "data": source.name,
        "data_hash": source.content_hash,
        "split": split,
        "initial": str(initial.path) if initial else None,
    }
    run.start(config, description)
    if run.finished:
        return run
    keras.utils.set_random_seed(settings.seed)
    with strategy.scope():
        model = AVClassifier(config.model, len(source.labels), settings.head_dropout, name="classifier")
        model.build()
        if initial is not None:
            initial.load_backbone_into(model.backbone)
        optimizer = make_optimizer(settings)
        optimizer.build(model.trainable_variables)
    modalities = config.model.modalities

    def losses(batch: dict) -> dict:
        inputs, labels = model_inputs(batch, modalities), batch["label"]
        if not settings.mixup:
            return classification_losses(model(inputs, training=True), labels, settings.label_smoothing)
        mixed, weight = mix_with_neighbours(inputs, batch["mixup_weight"])
        outputs = model(mixed, training=True)
        return mixed_losses(outputs, labels, weight, settings.label_smoothing)

    task = TrainingTask(
        "finetune",
        model,
        optimizer,
        losses,
        clips,
        settings.steps,
        settings.log_every,
        settings.checkpoint_every,
        settings.keep,
        shown=("loss", "accuracy"),
    )
    train(task, run, strategy)
    run.save_model(model)
    return run


def make_optimizer(settings: FinetuneConfig) -> TorchAdam:
    """Adam with L2 in the gradient; the backbone has its own rate, and batch norms are not decayed."""
    warmup = warmup_steps(settings.steps, settings.warmup_fraction)
    schedule = make_schedule(settings.schedule, settings.base_learning_rate, settings.steps, warmup)
    return TorchAdam(
        schedule,
        beta_1=settings.beta_1,
        beta_2=settings.beta_2,
        epsilon=settings.epsilon,
        weight_decay=settings.weight_decay,
        groups=finetune_groups(settings.base_learning_rate, settings.finetune_learning_rate),
    )

"""Pretraining without labels (PRETRAINING.md)."""

from __future__ import annotations

import sys
from pathlib import Path

import keras
import tensorflow as tf

from pemt_tf.config import Config
from pemt_tf.config.training import warmup_steps
from pemt_tf.data.clip_source import ClipSource
from pemt_tf.data.damage import naming_damage
from pemt_tf.data.input_pipeline import model_inputs, training_clips
from pemt_tf.data.share import EVERYTHING, WorkerShare
from pemt_tf.models.pretraining_model import PretrainingModel
from pemt_tf.training.event_log import hyperparameters
from pemt_tf.training.freezing import freeze
from pemt_tf.training.history import initial_entries
from pemt_tf.training.loop import train
from pemt_tf.training.precision import dtype_policy
from pemt_tf.training.projector import require_shown_split, write_projector
from pemt_tf.training.repeated_clips import compared_clips, repetition_warning
from pemt_tf.training.run_directory import RunDirectory
from pemt_tf.training.schedules import make_schedule
from pemt_tf.training.strategy import is_chief, make_strategy, require_divisible, require_groups
from pemt_tf.training.task import TrainingTask, make_task


def pretrain(
    config: Config,
    source: ClipSource,
    output: str | Path,
    split: str = "train",
    initial: RunDirectory | None = None,
) -> RunDirectory:
    """Pretrains on all clips of a split that have the model's streams; labels are not looked at.

    Going on where an interrupted run stopped is the same call again.

    Args:
        config: geometry, model and pretraining settings.
        source: the records.
        output: folder of the run.
        split: which clips.
        initial: a run whose backbone to start from; None starts from random weights.

    Returns:
        The finished run.

    Raises:
        PemtError: geometry or model differ, no usable clip, uneven batch over devices, another run is in the folder or
            at work in it.
    """
    source.require_geometry(config.geometry)
    settings = config.pretrain
    strategy = make_strategy()
    smallest = 1 if settings.gather_negatives else 2
    policy = dtype_policy(settings, "pretrain")
    require_divisible("pretrain.batch_size", settings.part_size, strategy, smallest)
    require_groups(settings, strategy)
    if initial is not None:
        initial.require_model(config.model)

    def clips(start_step: int, share: WorkerShare = EVERYTHING) -> tf.data.Dataset:
        return training_clips(
            source,
            split,
            settings.part_size,
            settings.seed,
            start_step * settings.accumulation,
            streams=config.model.modalities,
            augmentation=config.augmentation,
            share=share,
        )

    clips(0)  # refuses data without a usable clip, before anything is written
    require_shown_split(source, split)
    warning = repetition_warning(
        source, split, config.model.modalities, compared_clips(settings, strategy.num_replicas_in_sync)
    )
    if warning and is_chief():
        sys.stderr.write(f"{warning}\n")
    run = RunDirectory(Path(output), writes=is_chief())
    description = {
        "kind": "pretrain",
        "data": source.name,
        "data_hash": source.content_hash,
        "split": split,
        **initial_entries(initial),
        "selection": "last step",
    }
    with run.alone():
        if not run.start(config, description):
            run.say_finished()
            return run
        keras.utils.set_random_seed(settings.seed)
        with strategy.scope():
            task = _make_task(config, source, initial, clips, policy)
        with naming_damage(source, split):
            train(task, run, strategy)
        run.save_model(task.model)
    return run


def _make_task(config: Config, source: ClipSource, initial: RunDirectory | None, clips, policy) -> TrainingTask:
    """Model and optimizer, under the strategy's scope: by default AdamW with AMSGrad, linear warm-up, then cosine."""
    settings, modalities = config.pretrain, config.model.modalities
    model = PretrainingModel(config.model, settings, dtype=policy, name="pretraining")
    model.build()
    if initial is not None:
        initial.load_backbone_into(model.backbone)
    freeze(model.backbone, settings.frozen)

    def losses(batch: dict) -> dict:
        return model(model_inputs(batch, modalities, masks=False), training=True)

    return make_task(
        "pretrain",
        model,
        losses,
        clips,
        settings,
        make_schedule(
            settings.schedule,
            settings.learning_rate,
            settings.steps,
            warmup_steps(settings.steps, settings.warmup_fraction),
        ),
        shown=("loss", "mep_accuracy", "cpp_accuracy"),
        hyperparameters=hyperparameters(config, "pretrain"),
        streams=modalities,
        show_embeddings=lambda folder: write_projector(folder, model.backbone, source, settings.part_size),
    )

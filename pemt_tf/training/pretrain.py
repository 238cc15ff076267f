"""Pretraining without labels (docs/pretraining_objectives.md)."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pathlib import Path

import keras
import tensorflow as tf

from pemt_tf.config import Config
from pemt_tf.data.clip_source import ClipSource
from pemt_tf.data.input_pipeline import model_inputs
from pemt_tf.models.pretraining_model import PretrainingModel
from pemt_tf.training.event_log import hyperparameters
from pemt_tf.training.freezing import freeze
from pemt_tf.training.history import run_description
from pemt_tf.training.loop import train_run
from pemt_tf.training.precision import dtype_policy
from pemt_tf.training.projector import require_shown_split, write_projector
from pemt_tf.training.repeated_clips import compared_clips, repetition_warning
from pemt_tf.training.run_directory import RunDirectory
from pemt_tf.training.schedules import make_schedule
from pemt_tf.training.strategy import is_chief, make_strategy, require_divisible, require_groups
from pemt_tf.training.task import TrainingTask, batches_from, make_task


def pretrain(
    config: Config,
    source: ClipSource,
    output: str | Path,
    split: str = "train",
    initial: RunDirectory | None = None,
) -> RunDirectory:
    """Pretrains on all clips of a split that have the model's modalities; labels are not used.

    The same call continues an interrupted run.

    Args:
        config: geometry, model and pretraining settings.
        source: the records.
        output: folder of the run.
        split: the split to train on.
        initial: a run whose backbone to start from; None starts from random weights.

    Returns:
        The finished run.

    Raises:
        PemtError: geometry or model differ, no usable clip, uneven batch over devices, another run is in the folder or
            at work in it.
    """
    source.require_geometry(config.geometry)
    settings, modalities = config.pretrain, config.model.modalities
    strategy = make_strategy()
    policy = dtype_policy(settings)
    smallest = 1 if settings.gather_negatives else 2
    require_divisible("pretrain.batch_size", settings.part_size, strategy, smallest)
    require_groups(settings, strategy)
    if initial is not None:
        initial.require_model(config.model)
    clips = functools.partial(batches_from, settings, source, split, config.augmentation, {"streams": modalities})
    clips(0)  # refuses data without a usable clip, before anything is written
    require_shown_split(source, split)
    compared = compared_clips(settings, strategy.num_replicas_in_sync)
    warning = repetition_warning(source, split, modalities, compared)
    if warning and is_chief():
        sys.stderr.write(f"{warning}\n")

    run = RunDirectory(Path(output), writes=is_chief())
    make = functools.partial(_make_task, config, source, run, initial, clips, policy)
    return train_run(run, config, run_description("pretrain", source, split, initial), source, strategy, make)


def _make_task(
    config: Config,
    source: ClipSource,
    run: RunDirectory,
    initial: RunDirectory | None,
    clips: Callable[..., tf.data.Dataset],
    policy: keras.DTypePolicy,
) -> TrainingTask:
    """The model and its optimizer, under the strategy's scope."""
    settings, modalities = config.pretrain, config.model.modalities
    model = PretrainingModel(config.model, settings, dtype=policy, name="pretraining")
    model.build()
    if initial is not None:
        initial.load_backbone_into(model.backbone)
    freeze(model.backbone, settings.frozen)
    if initial is not None and model.aligned_space is None:  # with one, this run learns its own
        run.keep_aligned_space(initial, same_backbone=not model.backbone.trainable_variables)
    return make_task(
        "pretrain",
        model,
        lambda batch: model(model_inputs(batch, modalities, masks=False), training=True),
        clips,
        settings,
        make_schedule(settings.schedule, settings.learning_rate, settings.steps, settings.warmup_steps),
        shown=("loss", "mep_accuracy", "cpp_accuracy"),
        hyperparameters=hyperparameters(config, "pretrain"),
        modalities=modalities,
        show_embeddings=lambda folder: write_projector(folder, model.backbone, source, settings.part_size),
    )

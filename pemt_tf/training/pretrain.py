"""Pretraining without labels (PRETRAINING.md)."""

from __future__ import annotations

from pathlib import Path

import keras
import tensorflow as tf

from pemt_tf.config import Config
from pemt_tf.data.clip_source import ClipSource
from pemt_tf.data.input_pipeline import model_inputs, training_clips
from pemt_tf.models.pretraining_model import PretrainingModel
from pemt_tf.training.loop import TrainingTask, train
from pemt_tf.training.optimizers import TorchAdam
from pemt_tf.training.run_directory import RunDirectory
from pemt_tf.training.schedules import make_schedule
from pemt_tf.training.strategy import make_strategy, require_divisible
from pemt_tf.training_config import PretrainConfig, warmup_steps


def pretrain(config: Config, source: ClipSource, output: str | Path, split: str = "train") -> RunDirectory:
    """Pretrains on all clips of a split that have the model's streams; labels are not looked at.

    Going on where an interrupted run stopped is the same call again.

    Args:
        config: geometry, model and pretraining settings.
        source: the records.
        output: folder of the run.
        split: which clips.

    Returns:
        The finished run.

    Raises:
        PemtError: geometry differs, no usable clip, uneven batch over devices, another run is in the folder.
    """
    source.require_geometry(config.geometry)
    settings = config.pretrain
    strategy = make_strategy()
    require_divisible("pretrain.batch_size", settings.batch_size, strategy, smallest=2)
    modalities = config.model.modalities

    def clips(start_step: int) -> tf.data.Dataset:
        return training_clips(
            source,
            split,
            settings.batch_size,
            settings.seed,
            start_step,
            streams=modalities,
            augmentation=config.augmentation,
        )

    clips(0)  # refuses data without a usable clip, before anything is written
    run = RunDirectory(Path(output))
    run.start(config, {"kind": "pretrain", "data": source.name, "data_hash": source.content_hash, "split": split})
    if run.finished:
        return run
    keras.utils.set_random_seed(settings.seed)
    with strategy.scope():
        model = PretrainingModel(config.model, settings, name="pretraining")
        model.build()
        optimizer = make_optimizer(settings)
        optimizer.build(model.trainable_variables)

    def losses(batch: dict) -> dict:
        return model(model_inputs(batch, modalities, masks=False), training=True)

    task = TrainingTask(
        "pretrain",
        model,
        optimizer,
        losses,
        clips,
        settings.steps,
        settings.log_every,
        settings.checkpoint_every,
        settings.keep,
        shown=("loss", "mep_accuracy", "cpp_accuracy"),
    )
    train(task, run, strategy)
    run.save_model(model)
    return run


def make_optimizer(settings: PretrainConfig) -> TorchAdam:
    """AdamW with AMSGrad; linear warm-up, then cosine."""
    schedule = make_schedule(
        "cosine", settings.learning_rate, settings.steps, warmup_steps(settings.steps, settings.warmup_fraction)
    )
    return TorchAdam(
        schedule,
        beta_1=settings.beta_1,
        beta_2=settings.beta_2,
        epsilon=settings.epsilon,
        weight_decay=settings.weight_decay,
        decoupled=True,
        amsgrad=True,
    )

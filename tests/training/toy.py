"""A model small enough to reason about, and runs of it: dropout and a linear layer on the mean spectrum."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from pemt_tf.config.training import FinetuneConfig
from pemt_tf.data.input_pipeline import training_clips
from pemt_tf.training.loop import train
from pemt_tf.training.run_directory import RunDirectory
from pemt_tf.training.schedules import make_schedule
from pemt_tf.training.task import make_task

STEPS = 11
WALL_CLOCK = {"examples_per_second", "input_wait_share"}
# Everything that a checkpoint has to hold besides weights and optimizer.
ALL_ON = {
    "accumulation": 2,
    "ema": 0.9,
    "clip_norm": 0.5,
    "precision": "mixed_float16",
    "select": "best_validation",
    "validate_every": 3,
}


class Toy(keras.Model):
    """Weights, random state and a loss that depends on both."""

    def __init__(self, dropout: float):
        super().__init__()
        self.drop = keras.layers.Dropout(dropout, seed=3)
        self.dense = keras.layers.Dense(1)

    def build(self, input_shape=None):
        self.dense.build((None, 16))
        self.built = True

    def call(self, log_mel, training=False):
        return self.dense(self.drop(tf.reduce_mean(log_mel, [1, 3, 4]), training=training))


def make_toy(source, seed=0, loss=None, dropout=0.5, strategy=None, first_scale=None, **settings):
    """A task of 11 steps of 4 clips.

    Args:
        source: of the clips.
        seed: of weights and clips.
        loss: of the model alone, instead of the distance from 1.
        dropout: rate.
        strategy: one device if None.
        first_scale: of float16.
        **settings: fields of the configuration.
    """
    defaults = {"steps": STEPS, "batch_size": 4, "log_every": 4, "checkpoint_every": 2, "beta_2": 0.98}
    config = FinetuneConfig(**{**defaults, "epsilon": 1e-6, "weight_decay": 0.0, "seed": seed, **settings})
    keras.utils.set_random_seed(seed)

    def losses(batch):
        output = model(batch["log_mel"], training=True)
        value = tf.reduce_mean(tf.square(output - 1.0))
        return {"loss": value if loss is None else loss(model), "size": tf.reduce_mean(tf.abs(output))}

    def clips(step):
        return training_clips(source, "train", config.part_size, seed, step * config.accumulation)

    def validate():
        """Best somewhere in the middle of a run."""
        distance = float(np.abs(model.dense.kernel.numpy() - middle).mean())
        return {"validation_accuracy": round(-distance, 1), "validation_loss": distance}

    with (strategy or tf.distribute.get_strategy()).scope():
        model = Toy(dropout)
        model.build()
        middle = model.dense.kernel.numpy() * 0.97
        task = make_task(
            "toy",
            model,
            losses,
            clips,
            config,
            make_schedule("cosine", 0.01, STEPS),
            keep_best=config.select == "best_validation",
            validate=validate if config.select == "best_validation" else None,
            validate_every=config.validate_every,
        )
    if first_scale is not None:
        task.loss_scale.value = first_scale
    return task


def run_toy(source, path, strategy=None, **settings):
    """Trains to the end; the task and the run."""
    task = make_toy(source, strategy=strategy, **settings)
    run = RunDirectory(path)
    path.mkdir(exist_ok=True)
    train(task, run, strategy or tf.distribute.get_strategy())
    return task, run


def state(task):
    """All arrays of a run."""
    return [np.array(v.numpy() if hasattr(v, "numpy") else v) for v in task.state]


def logged(run):
    """Log lines without what the clock says."""
    return [{k: v for k, v in row.items() if k not in WALL_CLOCK} for row in run.metrics()]

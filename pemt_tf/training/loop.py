"""The training loop: steps, log lines, checkpoints, resume; the same for pretraining and fine-tuning."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import keras
import tensorflow as tf

from pemt_tf.errors import PemtError
from pemt_tf.progress import Progress
from pemt_tf.training.checkpoint import Checkpoints
from pemt_tf.training.run_directory import RunDirectory


@dataclass(frozen=True)
class TrainingTask:
    """What is trained.

    Attributes:
        name: for the progress line.
        model: built, under the strategy's scope.
        optimizer: built on the model's trainable variables, under the same scope.
        losses: a batch of one replica to a dict of scalars, among them `loss`, the mean over that batch.
        clips: first step to the stream of batches that begins there.
        steps, log_every, checkpoint_every, keep: see `PretrainConfig`.
        shown: metrics named in the progress line.
    """

    name: str
    model: keras.Model
    optimizer: keras.optimizers.Optimizer
    losses: Callable[[dict], dict]
    clips: Callable[[int], tf.data.Dataset]
    steps: int
    log_every: int
    checkpoint_every: int
    keep: int
    shown: tuple[str, ...] = ("loss",)

    @property
    def state(self) -> list:
        """Every variable of the run."""
        return [*self.model.variables, *self.optimizer.variables]


def train(task: TrainingTask, run: RunDirectory, strategy: tf.distribute.Strategy) -> None:
    """Trains to the last step, from the newest checkpoint on if there is one.

    Raises:
        PemtError: the loss is no longer a number; the last good checkpoint is kept.
        KeyboardInterrupt: after saving a checkpoint.
    """
    checkpoints = Checkpoints(run.checkpoints, task.keep)
    step = checkpoints.restore(task.state)
    run.forget_metrics_after(step)
    batches = iter(strategy.experimental_distribute_dataset(task.clips(step))) if step < task.steps else iter(())
    train_step = make_train_step(task, strategy)
    writer = tf.summary.create_file_writer(str(run.tensorboard))
    progress = Progress(task.name, task.steps, "steps", done=step)
    window = _Window()
    try:
        while step < task.steps:
            waiting = time.monotonic()
            batch = next(batches)
            window.waited += time.monotonic() - waiting
            metrics = {name: float(value) for name, value in train_step(batch).items()}
            step += 1
            _require_finite(metrics["loss"], step, batch, strategy, checkpoints)
            window.add(metrics)
            if step % task.log_every == 0 or step == task.steps:
                row = {"step": step, **window.means(), "learning_rate": float(task.optimizer.learning_rate)}
                _log(row, run, writer)
                window = _Window()
            progress.update(step, ", ".join(f"{name} {metrics[name]:.3f}" for name in task.shown if name in metrics))
            if step % task.checkpoint_every == 0 or step == task.steps:
                checkpoints.save(step, task.state)
    except KeyboardInterrupt:
        checkpoints.save(step, task.state)
        progress.close(f"stopped; the checkpoint of step {step} is saved, run the same command to go on")
        raise
    progress.close()


def make_train_step(task: TrainingTask, strategy: tf.distribute.Strategy) -> Callable[[dict], dict]:
    """Compiles one optimizer step on one global batch; it returns the metrics, means over replicas."""
    replicas = strategy.num_replicas_in_sync

    def replica_step(batch: dict) -> dict:
        with tf.GradientTape() as tape:
            metrics = task.losses(batch)
            loss = metrics["loss"] / replicas  # the optimizer sums gradients over replicas
        variables = task.model.trainable_variables
        pairs = zip(tape.gradient(loss, [v.value for v in variables]), variables, strict=True)
        used = [(gradient, variable) for gradient, variable in pairs if gradient is not None]
        task.optimizer.apply(*map(list, zip(*used, strict=True)))
        return metrics

    @tf.function
    def train_step(batch: dict) -> dict:
        metrics = strategy.run(replica_step, args=(batch,))
        return {name: strategy.reduce(tf.distribute.ReduceOp.MEAN, value, None) for name, value in metrics.items()}

    return train_step


class _Window:
    """Sums of metrics since the last log line."""

    def __init__(self) -> None:
        self.sums: dict[str, float] = {}
        self.count = 0
        self.waited = 0.0
        self.started = time.monotonic()

    def add(self, metrics: dict[str, float]) -> None:
        for name, value in metrics.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        self.count += 1

    def means(self) -> dict[str, float]:
        elapsed = max(time.monotonic() - self.started, 1e-9)
        means = {name: value / self.count for name, value in self.sums.items()}
        return {**means, "steps_per_second": self.count / elapsed, "input_wait_share": self.waited / elapsed}


def _log(row: dict[str, float], run: RunDirectory, writer) -> None:
    run.append_metrics(row)
    with writer.as_default(step=row["step"]):
        for name, value in row.items():
            if name != "step":
                tf.summary.scalar(name, value)
    writer.flush()


def _require_finite(loss: float, step: int, batch: dict, strategy, checkpoints: Checkpoints) -> None:
    if math.isfinite(loss):
        return
    ids = [i.decode() for part in strategy.experimental_local_results(batch["id"]) for i in part.numpy()]
    last = checkpoints.steps()[-1:] or ["none"]
    raise PemtError(
        f"the loss of step {step} is {loss}; last good checkpoint: {last[0]}; clips of the batch: {', '.join(ids)}. "
        "Look at these clips, or lower the learning rate"
    )

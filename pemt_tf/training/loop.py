"""The training loop: steps, log lines, checkpoints, resume; the same for pretraining and fine-tuning."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import keras
import tensorflow as tf

from pemt_tf.data.input_pipeline import read_batches
from pemt_tf.errors import PemtError
from pemt_tf.progress import Progress
from pemt_tf.training.checkpoint import Checkpoints
from pemt_tf.training.run_directory import RunDirectory

_COUNT = "count"


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
        PemtError: the loss or the gradient is no longer a number, and the last good checkpoint is kept; the clips
            cannot be read; the folder cannot be written.
        KeyboardInterrupt: after saving a checkpoint.
    """
    checkpoints = Checkpoints(run.checkpoints, task.keep)
    step, sums = checkpoints.restore(task.state)
    run.forget_metrics_after(step)
    window = _Window(sums)
    batches = read_batches(strategy.experimental_distribute_dataset(task.clips(step)) if step < task.steps else ())
    train_step = make_train_step(task, strategy)
    writer = tf.summary.create_file_writer(str(run.tensorboard))
    progress = Progress(task.name, task.steps, "steps", done=step)
    try:
        while step < task.steps:
            batch = window.timed(next, batches)
            rate = float(task.optimizer.learning_rate)
            metrics = {name: float(value) for name, value in train_step(batch).items()}
            step += 1
            _require_finite(metrics, step, batch, strategy, checkpoints)
            window.add(metrics)
            if step % task.log_every == 0 or step == task.steps:
                _log({"step": step, **window.means(), "learning_rate": rate}, run, writer)
                window = _Window()
            progress.update(step, ", ".join(f"{name} {metrics[name]:.3f}" for name in task.shown if name in metrics))
            if step % task.checkpoint_every == 0 or step == task.steps:
                checkpoints.save(step, task.state, window.sums)
    except KeyboardInterrupt:
        step = int(task.optimizer.iterations)  # the interrupt may have come just after an update
        checkpoints.save(step, task.state, window.sums)
        progress.close(f"stopped; the checkpoint of step {step} is saved, run the same command to go on")
        raise
    progress.close()


def make_train_step(task: TrainingTask, strategy: tf.distribute.Strategy) -> Callable[[dict], dict]:
    """Compiles one optimizer step on one global batch.

    Returns:
        A function of a distributed batch; it returns the task's metrics and `gradient_norm`, means over replicas.
    """
    replicas = strategy.num_replicas_in_sync

    def replica_step(batch: dict) -> dict:
        with tf.GradientTape() as tape:
            metrics = task.losses(batch)
            loss = metrics["loss"] / replicas  # the optimizer sums gradients over replicas
        variables = task.model.trainable_variables
        pairs = zip(tape.gradient(loss, [v.value for v in variables]), variables, strict=True)
        used = [(gradient, variable) for gradient, variable in pairs if gradient is not None]
        gradients, variables = map(list, zip(*used, strict=True))
        task.optimizer.apply(gradients, variables)
        return {**metrics, "gradient_norm": tf.linalg.global_norm(gradients) * replicas}

    @tf.function
    def train_step(batch: dict) -> dict:
        metrics = strategy.run(replica_step, args=(batch,))
        return {name: strategy.reduce(tf.distribute.ReduceOp.MEAN, value, None) for name, value in metrics.items()}

    return train_step


class _Window:
    """Sums of metrics since the last log line; a checkpoint keeps them, so that a resumed run logs the same means."""

    def __init__(self, sums: dict[str, float] | None = None) -> None:
        self.sums: dict[str, float] = dict(sums or {})
        self.steps_here = 0
        self.waited = 0.0
        self.started = time.monotonic()

    def timed(self, function: Callable, *arguments):
        """Calls a function and counts its time as waiting."""
        start = time.monotonic()
        result = function(*arguments)
        self.waited += time.monotonic() - start
        return result

    def add(self, metrics: dict[str, float]) -> None:
        for name, value in {**metrics, _COUNT: 1.0}.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        self.steps_here += 1

    def means(self) -> dict[str, float]:
        elapsed = max(time.monotonic() - self.started, 1e-9)
        means = {name: value / self.sums[_COUNT] for name, value in self.sums.items() if name != _COUNT}
        return {**means, "steps_per_second": self.steps_here / elapsed, "input_wait_share": self.waited / elapsed}


def _log(row: dict[str, float], run: RunDirectory, writer) -> None:
    run.append_metrics(row)
    with writer.as_default(step=row["step"]):
        for name, value in row.items():
            if name != "step":
                tf.summary.scalar(name, value)
    writer.flush()


def _require_finite(metrics: dict[str, float], step: int, batch: dict, strategy, checkpoints: Checkpoints) -> None:
    bad = [name for name in ("loss", "gradient_norm") if not math.isfinite(metrics[name])]
    if not bad:
        return
    ids = [i.decode() for part in strategy.experimental_local_results(batch["id"]) for i in part.numpy()]
    last = checkpoints.steps()[-1:] or ["none"]
    raise PemtError(
        f"the {bad[0].replace('_', ' ')} of step {step} is {metrics[bad[0]]}; last good checkpoint: {last[0]}; "
        f"clips of the batch: {', '.join(ids)}. Look at these clips, or lower the learning rate"
    )

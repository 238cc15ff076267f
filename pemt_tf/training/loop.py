"""The training loop of pretraining and fine-tuning: steps, log lines, checkpoints, validation, resume."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from pemt_tf.config import Config
from pemt_tf.data.clip_source import ClipSource
from pemt_tf.data.damage import naming_damage
from pemt_tf.data.input_pipeline import read_batches
from pemt_tf.device_choices import bytes_of, choices_for, describe, kernels, steps_per_call
from pemt_tf.errors import PemtError
from pemt_tf.terminal.interruption import stopped_by_sigterm, uninterrupted
from pemt_tf.terminal.progress import Progress
from pemt_tf.training.checkpoint import Checkpoints
from pemt_tf.training.cluster import noticing_lost_workers
from pemt_tf.training.collapse import alarm_line, collapse_alarms
from pemt_tf.training.event_log import EventLog
from pemt_tf.training.plateau import plateau_line
from pemt_tf.training.run_directory import RunDirectory
from pemt_tf.training.strategy import distribute_clips, require_same_step
from pemt_tf.training.task import TrainingTask
from pemt_tf.training.train_step import make_train_step
from pemt_tf.training.window import Window


def train_run(
    run: RunDirectory,
    config: Config,
    description: dict[str, Any],
    source: ClipSource,
    strategy: tf.distribute.Strategy,
    make: Callable[[], TrainingTask],
) -> RunDirectory:
    """Trains a run from its beginning, or from where it stopped, and saves its model.

    `make` is called under the strategy's scope.
    """
    with run.alone():
        if not run.start(config, description):
            run.say_finished()
            return run
        keras.utils.set_random_seed(getattr(config, description["kind"]).seed)
        with strategy.scope():
            task = make()
        with naming_damage(source, description["split"]):
            train(task, run, strategy)
        run.save_model(task.model)
    return run


def train(task: TrainingTask, run: RunDirectory, strategy: tf.distribute.Strategy) -> None:
    """Trains to the last step, from the newest checkpoint if there is one; the model ends with its final weights.

    After Ctrl-C or SIGTERM a checkpoint is saved and KeyboardInterrupt raised.
    """
    with stopped_by_sigterm(), kernels(choices_for(task.settings)):
        _Loop(task, run, strategy).run_to_the_end()
    task.finish()
    if run.writes and task.show_embeddings is not None:
        task.show_embeddings(run.tensorboard)


class _Loop:
    """The state of a run during training."""

    def __init__(self, task: TrainingTask, run: RunDirectory, strategy: tf.distribute.Strategy):
        self.task, self.run, self.strategy = task, run, strategy
        self.settings = task.settings
        self.checkpoints = Checkpoints(run.checkpoints, self.settings.keep, run.writes)
        self.step, notes = self.checkpoints.restore(task.state)
        require_same_step(strategy, self.step)
        task.take_notes(notes)
        run.forget_metrics_after(self.step)
        self.window = Window(notes.get("window"))
        self.first_row = next((row for row in run.metrics() if "loss" in row), None)
        self.alarmed = False
        self.plateau_told = False
        self.inside_step = False
        self.validated: dict[str, float] = {}  # the newest scores of the validation split
        self.events = EventLog(str(run.tensorboard) if run.writes else None)
        self.events.hyperparameters(task.hyperparameters)
        self.progress = Progress(
            task.name, self.settings.steps, "clips", done=self.step, units_per_step=self.settings.batch_size
        )

    def run_to_the_end(self) -> None:
        if 0 < self.step < self.settings.steps:
            rate = float(self.task.optimizer.learning_rate)
            self.progress.say(
                f"{self.task.name} continues after step {self.step}: learning rate {rate:.3g}, schedule "
                f"{self.settings.schedule} over {self.settings.steps} steps"
            )
        try:
            self._steps()
        except KeyboardInterrupt:
            with uninterrupted():
                self._stop()
            raise
        finally:
            self.events.close()
        self.progress.close()

    def _stop(self) -> None:
        """Saves, unless a second Ctrl-C interrupted a batch between two of its parts: that cannot be resumed."""
        done = int(self.task.optimizer.iterations)  # the interrupt may have come just after an update
        if self.inside_step and done == self.step and self.settings.accumulation > 1:
            self.progress.close("stopped within a step; run the same command to continue from the last checkpoint")
            return
        if done > self.step and not all(np.isfinite(ops.convert_to_numpy(v)).all() for v in self.task.model.weights):
            self.progress.close("stopped; run the same command to continue from the last checkpoint")
            return
        if not self.run.writes:
            self.progress.close("stopped; run the same command on every machine to continue from the last checkpoint")
            return
        self.step = done
        self._save()
        self.progress.close(f"stopped; the checkpoint of step {self.step} is saved, run the same command to continue")

    def _steps(self) -> None:
        if self.step >= self.settings.steps:
            return
        clips = distribute_clips(self.strategy, functools.partial(self.task.clips, self.step), self.settings)
        parts = read_batches(clips)
        train_step = make_train_step(self.task, self.strategy)
        ahead = [self.window.timed(self._next_parts, parts)]
        batch_bytes = bytes_of(self._of_one_device(ahead[0][0]))
        most = steps_per_call(self.settings, batch_bytes)
        self.progress.say(f"{self.task.name} on {describe(self.settings, self.strategy, batch_bytes)}")
        first = True
        while self.step < self.settings.steps:
            while len(ahead) < self._steps_together(most):
                ahead.append(self.window.timed(self._next_parts, parts))
            with uninterrupted(), noticing_lost_workers():
                self._call(train_step, ahead, most)
            ahead = []
            if first:  # compiled by now
                self.progress.restart_clock(self.step)
                self.window.restart_clock()
            first = False

    def _next_parts(self, parts: Iterator) -> list[dict]:
        return [next(parts) for _ in range(self.settings.accumulation)]

    def _of_one_device(self, batch: dict) -> dict:
        return {name: self.strategy.experimental_local_results(value)[0] for name, value in batch.items()}

    def _steps_together(self, most: int) -> int:
        """Number of steps of the next call, at most up to the next one with which something is due."""
        validates = [self.task.validate_every] if self.task.validate is not None else []
        dues = (self.settings.log_every, self.settings.checkpoint_every, *validates)
        return min(most, self.settings.steps - self.step, *(every - self.step % every for every in dues))

    def _call(self, train_step, batches: list[list[dict]], most: int) -> None:
        """Does steps, and then the logging, validation and checkpoint of the last; a resumed run repeats the order."""
        self.inside_step = True
        rows = [train_step(batches[0])] if most == 1 else train_step.several(batches, most)
        self.inside_step = False
        for metrics, parts in zip(rows, batches, strict=True):
            self.step += 1
            self._require_finite(metrics, parts)
            self.window.add(metrics)
            every = self.settings.images_every
            if self.task.modalities and every and (self.step - 1) % every == 0:
                self._show(parts[0])
        self._after(rows[-1])

    def _after(self, metrics: dict[str, float]) -> None:
        speed = self.window.speed(self.settings.batch_size)
        if self._due(self.settings.log_every):
            self._log(float(self.task.schedule(self.step - 1)), speed)
        if self.task.validate is not None and self._due(self.task.validate_every):
            self.validated = self.task.score(self.step)
            self._write({"step": self.step, **self.validated})
        metrics = metrics | self.validated
        shown = [f"{name.replace('_', ' ')} {metrics[name]:.3f}" for name in self.task.shown if name in metrics]
        self.progress.update(self.step, ", ".join([f"input wait {speed['input_wait_share']:.0%}", *shown]))
        if self._due(self.settings.checkpoint_every):
            self._save()

    def _due(self, every: int) -> bool:
        return self.step % every == 0 or self.step == self.settings.steps

    def _save(self) -> None:
        self.checkpoints.save(self.step, self.task.state, {**self.task.notes(), "window": self.window.sums})

    def _log(self, rate: float, speed: dict[str, float]) -> None:
        means = self.window.means()
        self.first_row = self.first_row or means
        alarms = collapse_alarms(means, self.first_row)
        self._write({"step": self.step, **means, **alarms, **speed, "learning_rate": rate})
        self.window = Window()
        line = alarm_line(self.step, means, alarms)
        if line and not self.alarmed:
            self.progress.say(line)
        self.alarmed = bool(line)
        line = plateau_line(self.step, self.settings.steps, means, self.first_row)
        if line and not self.plateau_told:
            self.progress.say(line)
            self.plateau_told = True

    def _write(self, row: dict[str, float]) -> None:
        self.run.append_metrics(row)
        self.events.numbers(row)

    def _show(self, batch: dict) -> None:
        local = {name: self._of_one_device(batch)[name].numpy() for name in ("frames", "log_mel")}
        self.events.images(self.step, local, self.task.modalities)

    def _require_finite(self, metrics: dict[str, float], batches: list[dict]) -> None:
        bad = [name for name in ("loss", "gradient_norm") if not math.isfinite(metrics.get(name, 0.0))]
        if not bad:
            return
        ids = [
            i.decode()
            for batch in batches
            for part in self.strategy.experimental_local_results(batch["id"])
            for i in part.numpy()
        ]
        last = self.checkpoints.steps()[-1:] or ["none"]
        raise PemtError(
            f"the {bad[0].replace('_', ' ')} of step {self.step} is {metrics[bad[0]]}; last good checkpoint: "
            f"{last[0]}; clips of the batch: {', '.join(ids)}. Look at these clips, or lower the learning rate"
        )

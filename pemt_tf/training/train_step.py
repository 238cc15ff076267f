"""One optimizer step: gradients, their sum over parts of the batch and devices, clipping, update, moving average."""

from __future__ import annotations

import math
from collections.abc import Callable

import tensorflow as tf

from pemt_tf.errors import PemtError
from pemt_tf.training.gradient_norms import part_norms
from pemt_tf.training.task import TrainingTask

_SUM, _MEAN = tf.distribute.ReduceOp.SUM, tf.distribute.ReduceOp.MEAN


def make_train_step(task: TrainingTask, strategy: tf.distribute.Strategy) -> _WholeStep | _AccumulatedStep:
    """Makes the function of a step; it is compiled on its first call.

    It takes the parts of a batch, `settings.accumulation` of them, each distributed over the strategy's replicas, and
    returns the task's metrics, means over the batch, and the norms of the gradients of the whole batch before clipping:
    `gradient_norm`, and those of `part_norms`. That of a batch in one part has `several` too.
    """
    if task.settings.jit_compile is True and strategy.num_replicas_in_sync > 1:
        raise PemtError(
            f"jit_compile does not work on {strategy.num_replicas_in_sync} devices in step; use one device, or "
            f"--set {task.name}.jit_compile=false (or transformer)"
        )
    task.optimizer.gradients_are_global = True
    alone = task.settings.accumulation == 1 and task.loss_scale is None
    return _WholeStep(task, strategy) if alone else _AccumulatedStep(task, strategy)


class _Step:
    """The parts that both kinds of step share."""

    def __init__(self, task: TrainingTask, strategy: tf.distribute.Strategy):
        self.task, self.strategy = task, strategy

    def compiled(self, function: Callable) -> Callable:
        return tf.function(function, jit_compile=self.task.settings.jit_compile is True or None)

    def gradients(self, batch: dict, factor) -> tuple[dict, list]:
        """Metrics of a replica's share of a part, and its gradients times `factor`, None for unused variables."""
        with tf.GradientTape() as tape:
            metrics = self.task.losses(batch)
            loss = metrics["loss"] * factor
        return metrics, tape.gradient(loss, [v.value for v in self.task.model.trainable_variables])

    def sum_over_replicas(self, gradients: list) -> list:
        if self.strategy.num_replicas_in_sync == 1:
            return gradients
        return tf.distribute.get_replica_context().all_reduce(_SUM, gradients)

    def update(self, gradients: list, norm, variables: list) -> None:
        """The optimizer's update with gradients of the whole batch; on a replica."""
        largest = self.task.settings.clip_norm
        if largest:
            scale = tf.minimum(1.0, largest / tf.maximum(norm, 1e-12))
            gradients = [gradient * tf.cast(scale, gradient.dtype) for gradient in gradients]
        self.task.optimizer.apply(gradients, variables)

    def move_average(self, steps_before) -> None:
        if self.task.average is not None:
            self.task.average.update(self.strategy, steps_before)

    def means(self, metrics: dict) -> dict:
        return {name: self.strategy.reduce(_MEAN, value, None) for name, value in metrics.items()}


class _WholeStep(_Step):
    """A step as one compiled function."""

    def __init__(self, task: TrainingTask, strategy: tf.distribute.Strategy):
        super().__init__(task, strategy)
        self._run = self.compiled(self._step)
        self._run_several = tf.function(self._steps)
        self._names: list[str] = []  # of the metrics; known when several steps are traced

    def __call__(self, batches: list[dict]) -> dict[str, float]:
        (batch,) = batches
        return {name: float(value) for name, value in self._run(_numbers(batch, self.strategy)).items()}

    def several(self, steps: list[list[dict]], most: int) -> list[dict[str, float]]:
        """Up to `most` steps in one call, which is traced once for all numbers; their metrics come in one transfer."""
        batches = [_numbers(batch, self.strategy) for (batch,) in steps]
        batches += batches[-1:] * (most - len(batches))  # not used, and not copied
        rows = self._run_several(batches, tf.constant(len(steps))).numpy().tolist()
        return [dict(zip(self._names, row, strict=True)) for row in rows]

    def _steps(self, batches: list[dict], count):
        def one(index, rows):
            metrics = self._run(self.strategy.run(_pick, args=(batches, index)))
            self._names = list(metrics)
            return index + 1, rows.write(index, [tf.cast(value, tf.float32) for value in metrics.values()])

        rows = tf.TensorArray(tf.float32, count)
        _, rows = tf.while_loop(lambda index, _: index < count, one, (0, rows), parallel_iterations=1)
        return rows.stack()

    def _step(self, batch: dict) -> dict:
        steps_before = tf.identity(self.task.optimizer.iterations.value)
        metrics = self.strategy.run(self._on_replica, args=(batch,))
        self.move_average(steps_before)
        return self.means(metrics)

    def _on_replica(self, batch: dict) -> dict:
        metrics, gradients = self.gradients(batch, 1.0 / self.strategy.num_replicas_in_sync)
        pairs = zip(gradients, self.task.model.trainable_variables, strict=True)
        used = [(gradient, variable) for gradient, variable in pairs if gradient is not None]
        gradients, variables = map(list, zip(*used, strict=True))
        gradients = self.sum_over_replicas(gradients)
        norm = tf.linalg.global_norm(gradients)
        self.update(gradients, norm, variables)
        return {**metrics, "gradient_norm": norm, **part_norms(gradients, variables)}


class _AccumulatedStep(_Step):
    """A step that sums the gradients of its parts on each device, and then updates.

    The sums are not part of a run's state: between two steps they are 0.
    """

    def __init__(self, task: TrainingTask, strategy: tf.distribute.Strategy):
        super().__init__(task, strategy)
        with strategy.scope():
            self._sums = [
                tf.Variable(
                    tf.zeros(v.shape, v.dtype),
                    trainable=False,
                    synchronization=tf.VariableSynchronization.ON_READ,
                    aggregation=tf.VariableAggregation.SUM,
                )
                for v in task.model.trainable_variables
            ]
        self._used: list[int] = []  # variables that have gradients; known when the first part is traced
        self._add = self.compiled(self._add_part)
        self._finish = self.compiled(self._sum_up)
        self._apply = self.compiled(self._update)
        self._clear = self.compiled(self._zero)

    def __call__(self, batches: list[dict]) -> dict[str, float]:
        scale = self.task.loss_scale
        factor = tf.constant(1.0 if scale is None else scale.value, tf.float32)
        parts = [self._add(_numbers(batch, self.strategy), factor) for batch in batches]
        metrics = {name: math.fsum(float(part[name]) for part in parts) / len(parts) for name in parts[0]}
        norms = {name: float(value) for name, value in self._finish(factor).items()}
        norm = norms["gradient_norm"]
        if scale is None:
            self._apply()
            return {**metrics, **norms}
        finite = math.isfinite(norm)
        skipped = not finite and math.isfinite(metrics["loss"]) and not scale.exhausted
        metrics |= {"loss_scale": scale.value, "skipped_steps": float(skipped)}
        if skipped:
            self._clear()
            self.task.optimizer.iterations.assign_add(1)
        elif finite:
            self._apply()
        scale.update(finite)
        return metrics if skipped else {**metrics, **norms}

    def _add_part(self, batch: dict, factor) -> dict:
        return self.means(self.strategy.run(self._add_on_replica, args=(batch, factor)))

    def _add_on_replica(self, batch: dict, factor) -> dict:
        parts = self.task.settings.accumulation * self.strategy.num_replicas_in_sync
        metrics, gradients = self.gradients(batch, factor / parts)
        self._used = [index for index, gradient in enumerate(gradients) if gradient is not None]
        for index in self._used:
            self._sums[index].assign_add(gradients[index])
        return metrics

    def _sum_up(self, factor):
        return self.means(self.strategy.run(self._sum_on_replica, args=(factor,)))

    def _sum_on_replica(self, factor):
        """Stores the gradients of the whole batch in the sums, and returns their norms."""
        sums = self.sum_over_replicas([self._sums[index].read_value() for index in self._used])
        sums = [value / tf.cast(factor, value.dtype) for value in sums]
        for index, value in zip(self._used, sums, strict=True):
            self._sums[index].assign(value)
        variables = [self.task.model.trainable_variables[index] for index in self._used]
        return {"gradient_norm": tf.linalg.global_norm(sums), **part_norms(sums, variables)}

    def _update(self) -> None:
        steps_before = tf.identity(self.task.optimizer.iterations.value)
        self.strategy.run(self._update_on_replica)
        self.move_average(steps_before)

    def _update_on_replica(self) -> None:
        gradients = [self._sums[index].read_value() for index in self._used]
        variables = [self.task.model.trainable_variables[index] for index in self._used]
        self.update(gradients, tf.linalg.global_norm(gradients), variables)
        self._zero_on_replica()

    def _zero(self) -> None:
        self.strategy.run(self._zero_on_replica)

    def _zero_on_replica(self) -> None:
        for index in self._used:
            self._sums[index].assign(tf.zeros_like(self._sums[index].read_value()))


def _pick(batches: list[dict], index) -> dict:
    """One of several batches."""
    return {
        name: tf.switch_case(index, [lambda value=batch[name]: tf.identity(value) for batch in batches])
        for name in batches[0]
    }


def _numbers(batch: dict, strategy: tf.distribute.Strategy) -> dict:
    """A batch without its texts, which XLA does not support."""
    return {
        name: value for name, value in batch.items() if strategy.experimental_local_results(value)[0].dtype != tf.string
    }

"""Learning-rate schedules with the reference's step count (docs/reference_model.md section 13).

The reference counts optimizer steps from 1 and reads the rate after counting; Keras passes the number of steps taken so
far, which starts at 0. The schedules add the one themselves: `schedule(0)` is the rate of the first update, and
`schedule(total_steps - 1)` that of the last, which is exactly 0 for cosine and linear decay.
"""

from __future__ import annotations

import math

import keras
from keras import ops

from pemt_tf.config.training import SCHEDULES
from pemt_tf.errors import PemtError


class _WarmupSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """Rises to the base rate over the warm-up steps, then follows `_decay`; after the total steps the rate stays."""

    def __init__(self, base_learning_rate: float, total_steps: int, warmup_steps: int = 0, name: str | None = None):
        super().__init__()
        if total_steps < 1 or not 0 <= warmup_steps <= total_steps:
            raise PemtError(
                f"a schedule of {total_steps} steps with {warmup_steps} steps of warm-up is not possible; "
                "give at least one step and no more warm-up than steps"
            )
        self.base_learning_rate = float(base_learning_rate)
        self.total_steps = int(total_steps)
        self.warmup_steps = int(warmup_steps)
        self.name = name or type(self).__name__

    def __call__(self, step):
        """Rate of the update that follows `step` updates; scalar float32."""
        count = ops.cast(step, "float32") + 1.0
        decaying_steps = max(1, self.total_steps - self.warmup_steps)
        progress = ops.clip((count - self.warmup_steps) / decaying_steps, 0.0, 1.0)
        share = ops.minimum(count / max(1, self.warmup_steps), 1.0)
        return ops.where(count < self.warmup_steps, self._warm_up(share), self._decay(progress))

    def _warm_up(self, share):
        """Rate at a share (0 to 1) of the warm-up."""
        return self.base_learning_rate * share

    def _decay(self, progress):
        """Rate at a share (0 to 1) of the steps after the warm-up."""
        raise NotImplementedError

    def get_config(self):
        return {
            "base_learning_rate": self.base_learning_rate,
            "total_steps": self.total_steps,
            "warmup_steps": self.warmup_steps,
            "name": self.name,
        }


@keras.saving.register_keras_serializable("pemt_tf")
class CosineSchedule(_WarmupSchedule):
    """Warm-up from `warmup_start`, then half a period of a cosine down to 0."""

    def __init__(
        self,
        base_learning_rate: float,
        total_steps: int,
        warmup_steps: int = 0,
        warmup_start: float = 0.0,
        name: str | None = None,
    ):
        super().__init__(base_learning_rate, total_steps, warmup_steps, name)
        self.warmup_start = float(warmup_start)

    def _warm_up(self, share):
        return self.warmup_start + (self.base_learning_rate - self.warmup_start) * share

    def _decay(self, progress):
        return self.base_learning_rate * 0.5 * (1.0 + ops.cos(math.pi * progress))

    def get_config(self):
        return {**super().get_config(), "warmup_start": self.warmup_start}


@keras.saving.register_keras_serializable("pemt_tf")
class LinearSchedule(_WarmupSchedule):
    """Warm-up from 0, then a straight line down to 0."""

    def _decay(self, progress):
        return self.base_learning_rate * (1.0 - progress)


@keras.saving.register_keras_serializable("pemt_tf")
class ConstantSchedule(_WarmupSchedule):
    """The base rate at every step. As in the reference, a constant rate has no warm-up; the argument is ignored."""

    def _warm_up(self, share):
        return self.base_learning_rate * ops.ones_like(share)

    def _decay(self, progress):
        return self.base_learning_rate * ops.ones_like(progress)


def make_schedule(
    kind: str, base_learning_rate: float, total_steps: int, warmup_steps: int = 0
) -> keras.optimizers.schedules.LearningRateSchedule:
    """The schedule that a configuration names; `total_steps` include the warm-up."""
    kinds = {"cosine": CosineSchedule, "linear": LinearSchedule, "constant": ConstantSchedule}
    if kind not in kinds:
        raise PemtError(f"no learning-rate schedule {kind!r}; known: {', '.join(SCHEDULES)}")
    return kinds[kind](base_learning_rate, total_steps, warmup_steps)

"""Adam and SGD as PyTorch defines them, with parameter groups (docs/reference_model.md section 13).

Keras' own classes give other results: their Adam adds epsilon before the bias correction, their weight decay is always
decoupled, and all variables share one learning rate.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import keras
from keras import ops

from pemt_tf.config.allowed_values import NotNegative, Positive, Probability, Truth
from pemt_tf.config.argument_checks import check_arguments
from pemt_tf.config.training import TrainingConfig

# Variables of the CNNs' batch norms, the only norms there; layer norms are decayed like every other weight.
_BATCH_NORM = r"_cnn/.*norm/(gamma|beta)$"
_HEAD = r"(^|/)[^/]*head/"


@dataclass(frozen=True)
class ParameterGroup:
    """Variables with their own learning rate and weight decay.

    Attributes:
        pattern: regular expression searched in the variable's path (`backbone/visual_cnn/stem_norm/gamma`).
        learning_rate_scale: factor of the optimizer's learning rate; 0 freezes the group.
        weight_decay: weight decay of the group; None for the optimizer's.
    """

    pattern: str
    learning_rate_scale: float = 1.0
    weight_decay: float | None = None


def finetune_groups(base_learning_rate: float, finetune_learning_rate: float) -> tuple[ParameterGroup, ...]:
    """The reference's groups: heads at the base rate, backbone at its own (0 freezes it), batch norms without decay."""
    scale = finetune_learning_rate / base_learning_rate
    return (ParameterGroup(_HEAD), ParameterGroup(_BATCH_NORM, scale, 0.0), ParameterGroup("", scale))


class _GroupedOptimizer(keras.optimizers.Optimizer):
    """The base of both optimizers: parameter groups and coupled weight decay.

    Attributes:
        gradients_are_global: whether gradients are already summed over replicas, as clipping by the norm of the whole
            batch needs; otherwise Keras sums them.
    """

    def __init__(self, learning_rate, weight_decay: float, groups: Sequence[ParameterGroup | dict], **kwargs):
        # Keras would apply its `weight_decay` decoupled, and to all variables.
        super().__init__(learning_rate=learning_rate, weight_decay=None, **kwargs)
        self.default_weight_decay = float(weight_decay)
        self.groups = tuple(ParameterGroup(**g) if isinstance(g, dict) else g for g in groups)
        self.gradients_are_global = False
        self._scales: list[float] = []
        self._decays: list[float] = []

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        for variable in variables:
            group = self._group_of(variable.path)
            self._scales.append(group.learning_rate_scale)
            self._decays.append(self.default_weight_decay if group.weight_decay is None else group.weight_decay)

    def _all_reduce_sum_gradients(self, grads_and_vars):
        """Keras' hook for data parallelism on TensorFlow."""
        return grads_and_vars if self.gradients_are_global else super()._all_reduce_sum_gradients(grads_and_vars)

    def _group_of(self, path: str) -> ParameterGroup:
        """The first group whose pattern is found in the path."""
        return next((group for group in self.groups if re.search(group.pattern, path)), ParameterGroup(""))

    def _prepare(self, gradient, variable, learning_rate):
        """The variable's index, and its gradient and rate in the variable's dtype."""
        index = self._get_variable_index(variable)
        rate = ops.cast(learning_rate, variable.dtype) * self._scales[index]
        return index, ops.cast(gradient, variable.dtype), rate

    def get_config(self):
        return {
            **super().get_config(),
            "weight_decay": self.default_weight_decay,
            "groups": [dataclasses.asdict(group) for group in self.groups],
        }


@keras.saving.register_keras_serializable("pemt_tf")
class TorchAdam(_GroupedOptimizer):
    """Adam: p <- p - lr * m' / (sqrt(v') + epsilon), with m' and v' corrected for their bias first.

    Works in `model.fit`, in custom loops and under `tf.distribute`; gradients of replicas are summed, as Keras does.

    Args:
        learning_rate: a float or a schedule.
        beta_1, beta_2, epsilon: numbers of Adam.
        weight_decay: weight decay of variables whose group has none of its own.
        decoupled: True is AdamW, p <- p (1 - lr * weight_decay); False adds weight_decay * p to the gradient.
        amsgrad: divide by the largest v so far.
        groups: parameter groups; the first whose pattern matches a variable's path gives its rate and decay.
    """

    @check_arguments
    def __init__(
        self,
        learning_rate=1e-3,
        beta_1: Probability = 0.9,
        beta_2: Probability = 0.999,
        epsilon: Positive = 1e-6,
        weight_decay: NotNegative = 0.0,
        decoupled: Truth = False,
        amsgrad: Truth = False,
        groups: Sequence[ParameterGroup | dict] = (),
        name: str = "torch_adam",
        **kwargs,
    ):
        super().__init__(learning_rate, weight_decay, groups, name=name, **kwargs)
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon
        self.decoupled, self.amsgrad = decoupled, amsgrad

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self._momentums, self._velocities = self.add_optimizer_variables(variables, ["momentum", "velocity"])
        if self.amsgrad:
            self._largest_velocities = self.add_optimizer_variables(variables, "largest_velocity")

    def update_step(self, gradient, variable, learning_rate):
        """One update of one variable; called by Keras."""
        index, gradient, rate = self._prepare(gradient, variable, learning_rate)
        decay = self._decays[index]
        if decay and self.decoupled:
            self.assign_sub(variable, variable * (rate * decay))
        elif decay:
            gradient = gradient + decay * variable
        momentum, velocity = self._momentums[index], self._velocities[index]
        self.assign_add(momentum, (gradient - momentum) * (1.0 - self.beta_1))
        self.assign_add(velocity, (ops.square(gradient) - velocity) * (1.0 - self.beta_2))
        if self.amsgrad:
            largest = self._largest_velocities[index]
            self.assign(largest, ops.maximum(largest, velocity))
            velocity = largest
        mean = momentum / self._bias_correction(self.beta_1, variable.dtype)
        root = ops.sqrt(velocity / self._bias_correction(self.beta_2, variable.dtype))
        self.assign_sub(variable, rate * mean / (root + self.epsilon))

    def _bias_correction(self, beta: float, dtype):
        """1 - beta^step, without the relative error of a float32 subtraction, 5e-5 at step 1."""
        step = ops.cast(self.iterations + 1, dtype)
        return -ops.expm1(step * math.log(beta))

    def get_config(self):
        return {
            **super().get_config(),
            "beta_1": self.beta_1,
            "beta_2": self.beta_2,
            "epsilon": self.epsilon,
            "decoupled": self.decoupled,
            "amsgrad": self.amsgrad,
        }


@keras.saving.register_keras_serializable("pemt_tf")
class TorchSGD(_GroupedOptimizer):
    """Gradient descent with momentum; the buffer holds gradients, not steps, so a new rate takes effect at once.

    Args:
        learning_rate: a float or a schedule.
        momentum: momentum; 0 for none.
        nesterov: use Nesterov's momentum.
        weight_decay: weight decay, added to the gradient, of variables whose group has none of its own.
        groups: parameter groups, as in `TorchAdam`.
    """

    @check_arguments
    def __init__(
        self,
        learning_rate=1e-2,
        momentum: Probability = 0.9,
        nesterov: Truth = True,
        weight_decay: NotNegative = 0.0,
        groups: Sequence[ParameterGroup | dict] = (),
        name: str = "torch_sgd",
        **kwargs,
    ):
        super().__init__(learning_rate, weight_decay, groups, name=name, **kwargs)
        self.momentum, self.nesterov = momentum, nesterov

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self._momentums = self.add_optimizer_variables(variables, "momentum")

    def update_step(self, gradient, variable, learning_rate):
        """One update of one variable; called by Keras."""
        index, gradient, rate = self._prepare(gradient, variable, learning_rate)
        gradient = gradient + self._decays[index] * variable
        buffer = self._momentums[index]
        self.assign(buffer, self.momentum * buffer + gradient)
        step = gradient + self.momentum * buffer if self.nesterov else buffer
        self.assign_sub(variable, rate * step)

    def get_config(self):
        return {**super().get_config(), "momentum": self.momentum, "nesterov": self.nesterov}


def make_optimizer(
    settings: TrainingConfig,
    schedule: keras.optimizers.schedules.LearningRateSchedule | float,
    groups: Sequence[ParameterGroup] = (),
) -> TorchAdam | TorchSGD:
    """The optimizer that a configuration names, with its weight decay and betas.

    `adam` adds weight decay to the gradient; `adamw` decouples it and uses AMSGrad; `sgd` is Nesterov with momentum
    0.9 (docs/reference_model.md section 13, docs/pretraining_objectives.md section 5).
    """
    if settings.optimizer == "sgd":
        return TorchSGD(schedule, weight_decay=settings.weight_decay, groups=groups)
    decoupled = settings.optimizer == "adamw"
    return TorchAdam(
        schedule,
        beta_1=settings.beta_1,
        beta_2=settings.beta_2,
        epsilon=settings.epsilon,
        weight_decay=settings.weight_decay,
        decoupled=decoupled,
        amsgrad=decoupled,
        groups=groups,
    )

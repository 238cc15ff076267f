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
import numpy as np
import tensorflow as tf
from keras import ops

from pemt_tf.config.allowed_values import NotNegative, Positive, Probability, Truth
from pemt_tf.config.argument_checks import check_arguments
from pemt_tf.config.training import TrainingConfig
from pemt_tf.device_choices import choices_for

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

    What is the same for all variables is computed once a step. On a GPU every operation is a kernel of its own, and
    `fused` leaves one to four of them for a variable.

    Attributes:
        gradients_are_global: whether gradients are already summed over replicas, as clipping by the norm of the whole
            batch needs; otherwise Keras sums them.
        fused: whether TensorFlow's kernels do the whole update of a variable, with the same result up to rounding.
            XLA has no AMSGrad among them, and fuses single operations itself.
    """

    def __init__(self, learning_rate, weight_decay: float, groups: Sequence[ParameterGroup | dict], **kwargs):
        # Keras would apply its `weight_decay` decoupled, and to all variables.
        super().__init__(learning_rate=learning_rate, weight_decay=None, **kwargs)
        self.default_weight_decay = float(weight_decay)
        self.groups = tuple(ParameterGroup(**g) if isinstance(g, dict) else g for g in groups)
        self.gradients_are_global = False
        self.fused = False
        self._scales: list[float] = []
        self._decays: list[float] = []
        self._kinds: list[tuple[float, float]] = []  # the different pairs of these

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        for variable in variables:
            group = self._group_of(variable.path)
            self._scales.append(group.learning_rate_scale)
            self._decays.append(self.default_weight_decay if group.weight_decay is None else group.weight_decay)
        self._kinds = sorted(set(zip(self._scales, self._decays, strict=True)))

    def _all_reduce_sum_gradients(self, grads_and_vars):
        """Keras' hook for data parallelism on TensorFlow."""
        return grads_and_vars if self.gradients_are_global else super()._all_reduce_sum_gradients(grads_and_vars)

    def _group_of(self, path: str) -> ParameterGroup:
        """The first group whose pattern is found in the path."""
        return next((group for group in self.groups if re.search(group.pattern, path)), ParameterGroup(""))

    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        """Keras' hook of its TensorFlow backend; `update_step` gets what `_of_this_step` computes as learning rate."""
        super()._backend_update_step(grads, trainable_variables, self._of_this_step(learning_rate))

    def _of_this_step(self, learning_rate) -> dict:
        """Scalar tensors that variables share: rates, and rates times decay, of each kind of variable."""
        rate = ops.cast(learning_rate, "float32")
        rates = [rate * scale for scale, _ in self._kinds]
        return {"rates": rates, "decays": [rate * kind[1] for rate, kind in zip(rates, self._kinds, strict=True)]}

    def _kind(self, index: int) -> int:
        return self._kinds.index((self._scales[index], self._decays[index]))

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

    def _of_this_step(self, learning_rate) -> dict:
        shared = super()._of_this_step(learning_rate)
        if not self.fused:
            return {**shared, "corrections": [self._bias_correction(beta) for beta in (self.beta_1, self.beta_2)]}
        # rate m / first / (sqrt(v / second) + epsilon) is alpha m / (sqrt(v) + epsilon sqrt(second)), as the kernel has
        # it. From powers of the betas it would compute alpha less exactly; powers of 0 leave alpha as it is given. Its
        # betas are float32, so the corrections are for these: 1 - beta differs by 1e-5 of itself.
        betas = [np.float32(beta) for beta in (self.beta_1, self.beta_2)]
        first, root = self._bias_correction(float(betas[0])), ops.sqrt(self._bias_correction(float(betas[1])))
        alphas = [rate * root / first for rate in shared["rates"]]
        numbers = {"beta1": betas[0], "beta2": betas[1], "beta1_power": 0.0, "beta2_power": 0.0}
        numbers = {name: tf.constant(value) for name, value in numbers.items()}
        return {**shared, "alphas": alphas, "numbers": {**numbers, "epsilon": self.epsilon * root}}

    def update_step(self, gradient, variable, learning_rate):
        """One update of one variable; called by Keras."""
        index, dtype, shared = self._get_variable_index(variable), variable.dtype, learning_rate
        decay, kind, gradient = self._decays[index], self._kind(index), ops.cast(gradient, dtype)
        if decay and self.decoupled:
            self.assign_sub(variable, variable * ops.cast(shared["decays"][kind], dtype))
        elif decay:
            gradient = gradient + decay * variable
        if self.fused:
            self._one_kernel(index, gradient, variable, shared)
            return
        rate = ops.cast(shared["rates"][kind], dtype)
        first, second = (ops.cast(each, dtype) for each in shared["corrections"])
        momentum, velocity = self._momentums[index], self._velocities[index]
        self.assign_add(momentum, (gradient - momentum) * (1.0 - self.beta_1))
        self.assign_add(velocity, (ops.square(gradient) - velocity) * (1.0 - self.beta_2))
        if self.amsgrad:
            largest = self._largest_velocities[index]
            self.assign(largest, ops.maximum(largest, velocity))
            velocity = largest
        self.assign_sub(variable, rate * (momentum / first) / (ops.sqrt(velocity / second) + self.epsilon))

    def _one_kernel(self, index: int, gradient, variable, shared: dict) -> None:
        slots = {"m": self._momentums[index].value.handle, "v": self._velocities[index].value.handle}
        kernel = tf.raw_ops.ResourceApplyAdam
        if self.amsgrad:
            slots["vhat"] = self._largest_velocities[index].value.handle
            kernel = tf.raw_ops.ResourceApplyAdamWithAmsgrad
        kernel(var=variable.handle, **slots, lr=shared["alphas"][self._kind(index)], grad=gradient, **shared["numbers"])

    def _bias_correction(self, beta: float):
        """1 - beta^step, without the relative error of a float32 subtraction, 5e-5 at step 1."""
        step = ops.cast(self.iterations + 1, "float32")
        return -ops.expm1(step * (math.log(beta) if beta else -math.inf))

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
        index = self._get_variable_index(variable)
        rate = ops.cast(learning_rate["rates"][self._kind(index)], variable.dtype)
        gradient, decay = ops.cast(gradient, variable.dtype), self._decays[index]
        gradient = gradient + decay * variable if decay else gradient
        buffer = self._momentums[index]
        if self.fused:
            tf.raw_ops.ResourceApplyMomentum(
                var=variable.handle,
                accum=buffer.value.handle,
                lr=rate,
                grad=gradient,
                momentum=self.momentum,
                use_nesterov=self.nesterov,
            )
            return
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
    """The optimizer that a configuration names, with its weight decay and betas; fused where the device wants it.

    `adam` adds weight decay to the gradient; `adamw` decouples it and uses AMSGrad; `sgd` is Nesterov with momentum
    0.9 (docs/reference_model.md section 13, docs/pretraining_objectives.md section 5).
    """
    if settings.optimizer == "sgd":
        optimizer = TorchSGD(schedule, weight_decay=settings.weight_decay, groups=groups)
    else:
        decoupled = settings.optimizer == "adamw"
        optimizer = TorchAdam(
            schedule,
            beta_1=settings.beta_1,
            beta_2=settings.beta_2,
            epsilon=settings.epsilon,
            weight_decay=settings.weight_decay,
            decoupled=decoupled,
            amsgrad=decoupled,
            groups=groups,
        )
    optimizer.fused = choices_for(settings).optimizer == "fused"
    return optimizer

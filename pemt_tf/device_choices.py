"""What is done differently by device, in layers and in training: the one place that chooses.

Every choice gives the same numbers up to rounding. What differs is which kernels run, how often a step goes through
memory, and how often a device waits for the host. Layers ask `device_choices()` when they are called or traced, and
training asks `choices_for(settings)`; nothing of it is saved with a model.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import keras

from pemt_tf.config.training import KERNELS, TrainingConfig
from pemt_tf.errors import ArgumentError

if TYPE_CHECKING:
    import tensorflow as tf

_READY_BYTES = 2**28  # of batches on the device, besides as many that the steps of a call are working on


@dataclass(frozen=True)
class DeviceChoices:
    """The choices of one device.

    Attributes:
        device: name for people.
        batch_norm: `cpu_kernels`, TensorFlow's kernels with statistics of ours; `gpu_kernels`, TensorFlow's kernels
            throughout (cuDNN on a GPU); `plain`, single operations of `keras.ops`.
        frames: `video`, [clips, time, height, width, channels] everywhere; `images`, all frames of all clips as one
            batch of images between the convolutions over time.
        temporal: k x 1 x 1 as one `product` with shifts, or as a 2-D `convolution` over time and positions.
        pointwise: 1 x 1 x 1 as a matrix `product` or as a `convolution`.
        skips: strides of 1 x 1 x 1 by `pooling`, by `slices`, or left to the `convolution`.
        stem: a strided kernel over time and space as a 3-D `convolution`, or as `windows`: the frames of each window
            side by side in the channels of one image, and a 2-D convolution of these.
        padding: `separate`, by an operation of its own before strided convolutions, or by the `convolution`.
        optimizer: an update of a variable by one kernel (`fused`) or by `single_operations`; under XLA always the
            latter, which it fuses itself.
        batches: copied to the device `ahead` of their step, or `with_the_step`.
        transformer: in training, a layer of the Transformer in `single_operations`, or compiled by `xla`.
        most_steps: largest number of steps in one call of TensorFlow, where nothing else limits it.
    """

    device: str
    batch_norm: Literal["cpu_kernels", "gpu_kernels", "plain"] = "plain"
    frames: Literal["video", "images"] = "video"
    temporal: Literal["product", "convolution"] = "product"
    pointwise: Literal["product", "convolution"] = "product"
    skips: Literal["pooling", "slices", "convolution"] = "pooling"
    stem: Literal["convolution", "windows"] = "convolution"
    padding: Literal["separate", "convolution"] = "separate"
    optimizer: Literal["fused", "single_operations"] = "single_operations"
    batches: Literal["ahead", "with_the_step"] = "with_the_step"
    transformer: Literal["single_operations", "xla"] = "single_operations"
    most_steps: int = 1  # a step on a CPU takes much longer than a call

    def describe(self) -> str:
        """One line for the log of a training."""
        names = [each.name for each in dataclasses.fields(self) if each.name not in ("device", "most_steps")]
        return f"kernels for {self.device}: " + ", ".join(
            f"{name} {getattr(self, name)}".replace("_", " ") for name in names
        )


_PLAIN = DeviceChoices("any device")
_CPU = DeviceChoices("CPU", "cpu_kernels")
_GPU = DeviceChoices(
    device="GPU",
    batch_norm="gpu_kernels",
    frames="images",
    temporal="convolution",
    pointwise="convolution",
    skips="convolution",
    stem="windows",
    padding="convolution",
    optimizer="fused",
    batches="ahead",
    most_steps=8,
)
_forced: list[DeviceChoices] = []


def device_choices() -> DeviceChoices:
    """The choices that hold now: the forced ones, or else those for the visible device and the backend."""
    return _forced[-1] if _forced else choices_of("auto")


@contextlib.contextmanager
def kernels(choice: str | DeviceChoices) -> Iterator[DeviceChoices]:
    """Forces the choices of layers that are called or traced within the block.

    Args:
        choice: `auto`, by the visible device; `cpu`, `gpu` or `plain`, on whatever device; or the choices themselves.
    """
    _forced.append(_that_work_here(choice) if isinstance(choice, DeviceChoices) else choices_of(choice))
    try:
        yield _forced[-1]
    finally:
        _forced.pop()


def choices_of(choice: str) -> DeviceChoices:
    """The choices by one of `pemt_tf.config.training.KERNELS`, as far as they work on this device and backend."""
    if choice not in KERNELS:
        raise ArgumentError(f"kernels is {choice!r}; allowed: {', '.join(KERNELS)}")
    choice = visible_device() if choice == "auto" else choice
    if keras.backend.backend() != "tensorflow":
        of_xla = dataclasses.replace(_GPU, batch_norm="plain", padding="separate")
        return of_xla if choice == "gpu" else _PLAIN
    if choice == "gpu" and visible_device() == "cpu":
        # The stand-in on a CPU: the filter gradient of a strided 1 x 1 convolution corrupts memory in oneDNN.
        return dataclasses.replace(_GPU, skips="slices")
    return _that_work_here({"plain": _PLAIN, "cpu": _CPU, "gpu": _GPU}[choice])


def _that_work_here(choices: DeviceChoices) -> DeviceChoices:
    """cuDNN's gradient of batch norm takes no given statistics: it would be wrong without an error."""
    if choices.batch_norm == "cpu_kernels" and visible_device() == "gpu":
        return dataclasses.replace(choices, batch_norm="plain")
    return choices


def visible_device() -> str:
    """`gpu` if the backend sees one, else `cpu`."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        if not tf.config.list_logical_devices("GPU"):
            return "cpu"
        # Otherwise cuDNN's batch norm is given a transposed copy of channels-last tensors, in half precision too.
        os.environ.setdefault("TF_USE_CUDNN_BATCHNORM_SPATIAL_PERSISTENT", "1")
        return "gpu"
    if backend == "jax":
        import jax

        return "gpu" if jax.default_backend() == "gpu" else "cpu"
    if backend == "torch":
        import torch

        return "gpu" if torch.cuda.is_available() else "cpu"
    return "cpu"


def choices_for(settings: TrainingConfig) -> DeviceChoices:
    """The choices of a training: those of its `kernels`, and what its `jit_compile` changes."""
    choices = choices_of(settings.kernels)
    if settings.jit_compile == "transformer":
        return dataclasses.replace(choices, transformer="xla")
    return dataclasses.replace(choices, optimizer="single_operations") if settings.jit_compile else choices


def steps_per_call(settings: TrainingConfig, batch_bytes: int) -> int:
    """The largest number of steps that one call of TensorFlow does: as set, or what the device has room for.

    On a GPU small models wait for the host, and their batches are small as well.
    """
    if settings.steps_per_call or settings.accumulation > 1 or settings.precision == "mixed_float16":
        return max(1, settings.steps_per_call)
    return max(1, min(choices_for(settings).most_steps, _READY_BYTES // batch_bytes))


def bytes_of(tensors: Any) -> int:
    """Size of a batch on one device: a dict of tensors, or of their specs with all dimensions known."""
    return sum(each.shape.num_elements() * each.dtype.size for each in tensors.values())


def copied_ahead(batches: tf.data.Dataset, settings: TrainingConfig) -> tf.data.Dataset:
    """Copies batches to the device, one at least and as many as a call takes, while it computes; if that is chosen."""
    import tensorflow as tf

    if choices_for(settings).batches != "ahead":
        return batches
    device = (tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU"))[0].name
    ready = steps_per_call(settings, bytes_of(batches.element_spec))
    return batches.apply(tf.data.experimental.prefetch_to_device(device, buffer_size=ready))


def describe(settings: TrainingConfig, strategy: tf.distribute.Strategy, batch_bytes: int) -> str:
    """All choices in one line, for the log."""
    devices, steps = strategy.num_replicas_in_sync, steps_per_call(settings, batch_bytes)
    xla = {False: "off", True: "on", "transformer": "for the Transformer"}[settings.jit_compile]
    return (
        f"{devices} {visible_device().upper()}{'s' * (devices > 1)}, {settings.precision}, XLA {xla}, "
        f"{steps} step{'s' * (steps > 1)} per call, {choices_for(settings).describe()}"
    )

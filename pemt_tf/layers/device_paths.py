"""How the numeric layers compute, by device: the one place that chooses.

Every path gives the same numbers up to rounding. What differs is which kernels run, and how often a step goes through
memory. Layers ask `device_paths()` when they are called or traced; nothing of it is saved with a model.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import keras

from pemt_tf.config.training import KERNELS
from pemt_tf.errors import ArgumentError


@dataclass(frozen=True)
class DevicePaths:
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
    """

    device: str
    batch_norm: Literal["cpu_kernels", "gpu_kernels", "plain"]
    frames: Literal["video", "images"]
    temporal: Literal["product", "convolution"]
    pointwise: Literal["product", "convolution"]
    skips: Literal["pooling", "slices", "convolution"]
    stem: Literal["convolution", "windows"]
    padding: Literal["separate", "convolution"]

    def describe(self) -> str:
        """One line for the log of a training."""
        choices = {each.name: getattr(self, each.name) for each in dataclasses.fields(self) if each.name != "device"}
        return f"kernels for {self.device}: " + ", ".join(
            f"{name.replace('_', ' ')} {value.replace('_', ' ')}" for name, value in choices.items()
        )


_PLAIN = DevicePaths("any device", "plain", "video", "product", "product", "pooling", "convolution", "separate")
_CPU = dataclasses.replace(_PLAIN, device="CPU", batch_norm="cpu_kernels")
_GPU = DevicePaths(
    "GPU", "gpu_kernels", "images", "convolution", "convolution", "convolution", "windows", "convolution"
)
_forced: list[DevicePaths] = []


def device_paths() -> DevicePaths:
    """The choices that hold now: the forced ones, or else those for the visible device and the backend."""
    return _forced[-1] if _forced else _paths_of("auto")


@contextlib.contextmanager
def kernels(choice: str | DevicePaths) -> Iterator[DevicePaths]:
    """Forces the choices of layers that are called or traced within the block.

    Args:
        choice: `auto`, by the visible device; `cpu`, `gpu` or `plain`, on whatever device; or the choices themselves.
    """
    paths = _that_work_here(choice) if isinstance(choice, DevicePaths) else _paths_of(choice)
    _forced.append(paths)
    try:
        yield paths
    finally:
        _forced.pop()


def _paths_of(choice: str) -> DevicePaths:
    if choice not in KERNELS:
        raise ArgumentError(f"kernels is {choice!r}; allowed: {', '.join(KERNELS)}")
    choice = _visible_device() if choice == "auto" else choice
    if keras.backend.backend() != "tensorflow":
        of_xla = dataclasses.replace(_GPU, batch_norm="plain", padding="separate")
        return of_xla if choice == "gpu" else _PLAIN
    if choice == "gpu" and _visible_device() == "cpu":
        # The stand-in on a CPU: the filter gradient of a strided 1 x 1 convolution corrupts memory in oneDNN.
        return dataclasses.replace(_GPU, skips="slices")
    return _that_work_here({"plain": _PLAIN, "cpu": _CPU, "gpu": _GPU}[choice])


def _that_work_here(paths: DevicePaths) -> DevicePaths:
    """cuDNN's gradient of batch norm takes no given statistics: it would be wrong without an error."""
    if paths.batch_norm == "cpu_kernels" and _visible_device() == "gpu":
        return dataclasses.replace(paths, batch_norm="plain")
    return paths


def _visible_device() -> str:
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

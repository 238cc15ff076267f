"""The choice of kernels by device, and the paths of a GPU: the same golden tensors, far fewer kernels.

No GPU is needed: every path runs on a CPU. One kernel has a stand-in there, see `DevicePaths.skips`.
"""

import dataclasses

import pytest
import tensorflow as tf

from pemt_tf.errors import ArgumentError
from pemt_tf.layers.device_paths import DevicePaths, device_paths, kernels


@pytest.fixture(autouse=True)
def gpu_kernels():
    with kernels("gpu"):
        yield


# The same tests, with the kernels of a GPU.
from tests.layers.test_residual_block import (  # noqa: E402, F401
    test_a_new_block_without_projection_is_a_relu,
    test_rematerialization_changes_no_number,
)
from tests.models.test_audio_resnet import test_every_stage_equals_the_reference as test_audio_stages  # noqa: E402, F401
from tests.models.test_end_to_end_step import (  # noqa: E402, F401
    golden,
    inputs,
    test_evaluation_equals_the_reference,
    test_two_training_steps_equal_the_reference,
)
from tests.models.test_visual_resnet3d import (  # noqa: E402, F401
    test_every_stage_equals_the_reference as test_visual_stages,
)


def test_forced_choices_hold_within_the_block():
    outside = device_paths()
    with kernels("plain") as plain:
        assert device_paths() is plain and plain.batch_norm == "plain"
        mixed = dataclasses.replace(plain, temporal="convolution")
        with kernels(mixed):
            assert device_paths() is mixed
        assert device_paths() is plain
    assert device_paths() is outside


def test_without_a_gpu_the_choice_is_that_of_the_cpu():
    if tf.config.list_logical_devices("GPU"):
        pytest.skip("there is a GPU")
    with kernels("auto") as chosen:
        assert chosen.device == "CPU" and chosen.batch_norm == "cpu_kernels"


def test_an_unknown_choice_names_those_that_there_are():
    with pytest.raises(ArgumentError, match="kernels is 'fast'; allowed: auto, cpu, gpu, plain"), kernels("fast"):
        pass


def test_the_description_is_one_line_that_names_every_choice():
    line = device_paths().describe()
    assert line.startswith("kernels for GPU: batch norm gpu kernels, ") and "\n" not in line
    assert line.count(", ") == len(dataclasses.fields(DevicePaths)) - 2

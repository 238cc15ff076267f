"""The choice of kernels by device, and the paths of a GPU: the same golden tensors, far fewer kernels.

No GPU is needed: every path runs on a CPU. One kernel has a stand-in there, see `DeviceChoices.skips`.
"""

import dataclasses

import pytest
import tensorflow as tf

from pemt_tf import device_choices as module
from pemt_tf.device_choices import DeviceChoices, device_choices, kernels
from pemt_tf.errors import ArgumentError
from pemt_tf.models.visual_resnet3d import VisualResNet3D
from tests.golden import assert_close
from tests.traced_step import kernels as running_kernels
from tests.traced_step import traced, train_step

CPU_KERNELS = 2033  # of `small_visual_step`


@pytest.fixture(autouse=True)
def gpu_kernels():
    with kernels("gpu"):
        yield


# The same tests, with the kernels of a GPU.
from tests.layers.test_residual_block import (  # noqa: E402, F401
    test_a_new_block_without_projection_is_a_relu,
    test_rematerialization_changes_no_number,
)
from tests.models import test_audio_resnet, test_end_to_end_step, test_visual_resnet3d  # noqa: E402
from tests.models.test_end_to_end_step import (  # noqa: E402, F401
    golden,
    inputs,
    test_evaluation_equals_the_reference,
)
from tests.models.test_visual_resnet3d import (  # noqa: E402, F401
    test_the_pooling_of_the_stem_has_one_gradient_per_window,
)


def test_every_stage_of_both_resnets_equals_the_reference():
    test_visual_resnet3d.test_every_stage_equals_the_reference()
    test_audio_resnet.test_every_stage_equals_the_reference()


@pytest.mark.parametrize("remat", [False, True])
def test_two_training_steps_equal_the_reference(golden, inputs, remat):  # noqa: F811
    """With batch norm in single operations.

    The fused kernels of a CPU, which stand in for cuDNN here, sum a batch in one float32: too few digits for the
    gradients of 50 layers. `tests/layers/test_batch_normalization.py` compares them by themselves.
    """
    with kernels(dataclasses.replace(device_choices(), batch_norm="plain")):
        test_end_to_end_step.test_two_training_steps_equal_the_reference(golden, inputs, remat)


def test_a_training_step_by_fused_kernels_has_the_logits_and_the_gradient_of_the_reference(golden, inputs):  # noqa: F811
    model = test_end_to_end_step.make_model(golden)
    labels = golden["in/labels"].reshape(2, 2)
    with tf.GradientTape() as tape:
        logits = model(inputs, training=True)["logits"]
        losses = [tf.nn.sparse_softmax_cross_entropy_with_logits(labels, head) for head in logits.values()]
        loss = tf.add_n([tf.reduce_mean(head) for head in losses])
    for head, name in (("clip", "clip"), ("sequence", "seq")):
        assert_close(test_end_to_end_step.flat(logits[head]), golden[f"out64/train_{name}_logit"])
    gradients = tape.gradient(loss, model.trainable_variables)
    assert_close(tf.linalg.global_norm(gradients), golden["out64/grad_norm_total"])


def small_visual_step(path: str):
    """The traced train step of a visual CNN of 53 convolutions."""
    cnn = VisualResNet3D(50, 4)
    cnn.build()
    with kernels(path):
        return traced(train_step(cnn), tf.zeros((2, 4, 32, 32, 3)))


@pytest.fixture(scope="module")
def counts():
    """Kernels of a traced train step, by path."""
    return {path: running_kernels(small_visual_step(path)) for path in ("cpu", "gpu", "plain")}


def test_a_gpu_runs_a_fraction_of_the_kernels(counts):
    """`plain` is what a GPU ran before it had paths of its own."""
    totals = {path: counts[path].total() for path in counts}
    assert totals["gpu"] < 0.15 * totals["plain"], totals
    # 53 times: batch norm forwards and backwards; a convolution and its two gradients, but for those of the frames.
    of_gpu = counts["gpu"]
    assert of_gpu["FusedBatchNormV3"] == of_gpu["FusedBatchNormGradV3"] == 53
    assert of_gpu["Conv2D"] == of_gpu["Conv2DBackpropFilter"] == 53
    assert of_gpu["Conv2DBackpropInput"] == 52
    assert of_gpu["Relu"] == of_gpu["ReluGrad"] == 49
    assert of_gpu["MatMul"] == of_gpu["Cast"] == 0


def test_the_graph_of_a_cpu_stays(counts):
    """Figures of the commit before the paths."""
    assert counts["cpu"].total() == CPU_KERNELS


def test_forced_choices_hold_within_the_block():
    outside = device_choices()
    with kernels("plain") as plain:
        assert device_choices() is plain and plain.batch_norm == "plain"
        mixed = dataclasses.replace(plain, temporal="convolution")
        with kernels(mixed):
            assert device_choices() is mixed
        assert device_choices() is plain
    assert device_choices() is outside


def test_without_a_gpu_the_choice_is_that_of_the_cpu():
    if tf.config.list_logical_devices("GPU"):
        pytest.skip("there is a GPU")
    with kernels("auto") as chosen:
        assert chosen.device == "CPU" and chosen.batch_norm == "cpu_kernels"


@pytest.mark.parametrize("choice", ["cpu", module._CPU])
def test_the_kernels_of_a_cpu_leave_batch_norm_to_single_operations_where_there_is_a_gpu(monkeypatch, choice):
    """cuDNN's gradient of batch norm takes no given statistics."""
    monkeypatch.setattr(module, "visible_device", lambda: "gpu")
    with kernels(choice) as chosen:
        assert (chosen.batch_norm, chosen.frames, chosen.temporal) == ("plain", "video", "product")
    with kernels("auto") as chosen:
        assert (chosen.device, chosen.batch_norm, chosen.skips) == ("GPU", "gpu_kernels", "convolution")


def test_an_unknown_choice_names_those_that_there_are():
    with pytest.raises(ArgumentError, match="kernels is 'fast'; allowed: auto, cpu, gpu, plain"), kernels("fast"):
        pass


def test_the_description_is_one_line_that_names_every_choice():
    line = device_choices().describe()
    assert line.startswith("kernels for GPU: batch norm gpu kernels, ") and "\n" not in line
    assert line.count(", ") == len(dataclasses.fields(DeviceChoices)) - 3

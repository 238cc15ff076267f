"""Adam and SGD against PyTorch's values and a NumPy restatement of docs/reference_model.md section 13."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from pemt_tf.config import ModelConfig
from pemt_tf.config.training import FinetuneConfig
from pemt_tf.models.heads import AVClassifier
from pemt_tf.training.optimizers import ParameterGroup, TorchAdam, TorchSGD, finetune_groups, make_optimizer
from pemt_tf.training.schedules import CosineSchedule
from tests.golden import Golden, assert_close


def descend(optimizer, start, gradients):
    """The variable after each update."""
    variable = keras.Variable(np.asarray(start, np.float32), name="weight")
    trace = []
    for gradient in gradients:
        optimizer.apply([keras.ops.convert_to_tensor(np.asarray(gradient, np.float32))], [variable])
        trace.append(variable.numpy())
    return np.stack(trace)


@pytest.mark.parametrize("fused", [False, True], ids=["single operations", "one kernel"])
@pytest.mark.parametrize(
    "name, optimizer",
    [
        ("adam", TorchAdam(1e-2, epsilon=1e-6, weight_decay=5e-3)),
        ("adamw_amsgrad", TorchAdam(1e-2, epsilon=1e-6, weight_decay=5e-3, decoupled=True, amsgrad=True)),
        ("sgd_nesterov", TorchSGD(1e-2, momentum=0.9, nesterov=True, weight_decay=5e-3)),
    ],
)
def test_equals_pytorch_step_by_step(name, optimizer, fused):
    golden = Golden("optim_schedule")
    optimizer = type(optimizer).from_config(optimizer.get_config())
    optimizer.fused = fused
    assert_close(descend(optimizer, golden["in/p0"], golden["in/grads"]), golden[f"out64/{name}"], 1e-6)


@pytest.mark.parametrize("fused", [False, True])
def test_epsilon_is_added_after_the_bias_correction(fused):
    # One step from 0 with gradient g: m' = g, v' = g^2, so the step is lr g / (|g| + eps) exactly. With epsilon added
    # first, as Keras' Adam does, it would be lr g / (|g| + eps / sqrt(1 - beta_2)), 32 times the epsilon.
    gradient, epsilon = np.array([1e-6, -2e-6, 1e-3]), 1e-6
    optimizer = TorchAdam(0.1, epsilon=epsilon)
    optimizer.fused = fused
    trace = descend(optimizer, np.zeros(3), [gradient])
    np.testing.assert_allclose(trace[0], -0.1 * gradient / (np.abs(gradient) + epsilon), rtol=2e-6)


def test_amsgrad_divides_by_the_largest_velocity_so_far():
    rate, beta_1, beta_2, epsilon = 0.01, 0.9, 0.98, 1e-6
    gradients = [[3.0], [0.01], [0.01], [-0.02]]
    parameter, first, second, largest, expected = 1.0, 0.0, 0.0, 0.0, []
    for step, (gradient,) in enumerate(gradients, 1):
        first = beta_1 * first + (1 - beta_1) * gradient
        second = beta_2 * second + (1 - beta_2) * gradient**2
        largest = max(largest, second)
        parameter -= rate * first / (1 - beta_1**step) / (np.sqrt(largest / (1 - beta_2**step)) + epsilon)
        expected.append([parameter])
    assert largest > second
    optimizer = TorchAdam(rate, beta_1, beta_2, epsilon, decoupled=True, amsgrad=True)
    np.testing.assert_allclose(descend(optimizer, [1.0], gradients), expected, rtol=1e-6)


def test_momentum_without_nesterov():
    # Buffer 1, then 0.5 + 1 = 1.5; the rate 0.1 multiplies the buffer.
    trace = descend(TorchSGD(0.1, momentum=0.5, nesterov=False), [0.0], [[1.0], [1.0]])
    np.testing.assert_allclose(trace[:, 0], [-0.1, -0.25], rtol=1e-6)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("decoupled", [False, True])
def test_groups_scale_the_rate_and_replace_the_decay(decoupled, fused):
    frozen, slow, plain = (keras.Variable([2.0], name=name) for name in ("frozen", "slow", "plain"))
    groups = (ParameterGroup("frozen", 0.0), ParameterGroup("slow", 0.1, 0.5), ParameterGroup("s", 100.0))
    optimizer = TorchAdam(0.01, epsilon=1e-12, weight_decay=0.25, decoupled=decoupled, groups=groups)
    optimizer.fused = fused
    optimizer.apply([keras.ops.ones(1)] * 3, [frozen, slow, plain])
    # The first Adam step is the rate itself; decoupled decay takes rate * decay * parameter more.
    taken = [2.0 - float(v.numpy()[0]) for v in (frozen, slow, plain)]
    extra = [0.0, 0.001 * 0.5 * 2.0, 0.01 * 0.25 * 2.0] if decoupled else [0.0, 0.0, 0.0]
    np.testing.assert_allclose(taken, [0.0, 0.001 + extra[1], 0.01 + extra[2]], atol=1e-7)


def test_momentum_of_zero_betas_is_the_gradient_itself():
    """No bias to correct: with both betas 0 a step is rate * g / (|g| + epsilon)."""
    trace = descend(TorchAdam(0.5, beta_1=0.0, beta_2=0.0, epsilon=1e-12), [1.0, 1.0], [[3.0, -4.0]])
    np.testing.assert_allclose(trace[0], [0.5, 1.5], rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "most"),
    [
        (lambda: TorchAdam(1e-3), 1),
        (lambda: TorchSGD(1e-3), 1),
        (lambda: TorchAdam(1e-3, weight_decay=1e-4, decoupled=True, amsgrad=True), 4),  # read, times, subtract, Adam
        (lambda: TorchAdam(1e-3, weight_decay=1e-4), 4),
    ],
    ids=["adam", "sgd", "adamw with amsgrad", "adam with decay"],
)
def test_a_fused_update_is_at_most_four_operations_a_variable(make, most):
    """On a GPU each of them is a kernel. Operations of all variables together do not grow with their number."""

    def operations(number):
        variables = [keras.Variable(np.ones(3, np.float32), name=f"weight_{n}") for n in range(number)]
        optimizer = make()
        optimizer.fused = True
        optimizer.build(variables)
        step = tf.function(lambda *gradients: optimizer.apply(list(gradients), variables))
        graph = step.get_concrete_function(*[tf.TensorSpec((3,))] * number).graph
        no_kernels = ("Placeholder", "Const", "Identity", "IdentityN")
        return sum(operation.type not in no_kernels for operation in graph.get_operations())

    counts = [operations(2), operations(12)]
    assert counts[1] - counts[0] <= most * 10
    assert counts[0] - 2 * most <= 25


@pytest.mark.parametrize("kind", ["adam", "adamw", "sgd"])
def test_updates_are_fused_on_a_gpu_unless_xla_does_it(kind):
    for kernels, expected in (("cpu", [False, False]), ("gpu", [True, False])):
        settings = [FinetuneConfig(optimizer=kind, kernels=kernels, jit_compile=xla) for xla in (False, True)]
        assert [make_optimizer(each, 1e-3).fused for each in settings] == expected


def scales_and_decays(optimizer):
    """Of every variable."""
    return zip(optimizer._scales, optimizer._decays, strict=True)


def test_finetune_groups_sort_the_variables_of_a_classifier():
    sizes = {"hidden": 8, "heads": 2, "intermediate": 8, "rank": 4, "layers": 1, "visual_width": 1, "audio_width": 1}
    model = AVClassifier(ModelConfig(**sizes), classes=3)
    model.build()
    optimizer = TorchAdam(1e-3, weight_decay=5e-6, groups=finetune_groups(1e-3, 1e-4))
    optimizer.build(model.trainable_variables)
    report = dict(zip((v.path for v in model.trainable_variables), scales_and_decays(optimizer), strict=True))

    def settings(part):
        return {values for path, values in report.items() if part in path}

    # One gain and one offset per batch norm: 53 in the visual ResNet-50, 1 + 3 * 16 + 4 shortcuts; the audio one has a
    # second stem norm and a fourth norm in each of its 3 + 4 separable blocks: 61.
    without_decay = [path for path, (_, decay) in report.items() if decay == 0.0]
    assert len(without_decay) == 2 * (53 + 61)
    assert all("_cnn/" in path for path in without_decay)
    assert settings("_head/") == {(1.0, 5e-6)}
    assert settings("transformer/") == settings("embeddings/") == {(0.1, 5e-6)}
    assert settings("_cnn/stem_norm/gamma") == {(0.1, 0.0)}
    assert settings("_cnn/stem/kernel") == {(0.1, 5e-6)}


def test_a_frozen_backbone_does_not_move():
    assert [group.learning_rate_scale for group in finetune_groups(3e-3, 0.0)] == [1.0, 0.0, 0.0]


def test_state_is_all_in_the_variables():
    gradients = np.random.default_rng(0).normal(size=(6, 4))
    whole = descend(TorchAdam(0.01, amsgrad=True), np.ones(4), gradients)
    first = TorchAdam(0.01, amsgrad=True)
    halfway = descend(first, np.ones(4), gradients[:3])[-1]
    second = TorchAdam(0.01, amsgrad=True)
    second.build([keras.Variable(halfway, name="weight")])
    for target, source in zip(second.variables, first.variables, strict=True):
        target.assign(source)
    variable = second._trainable_variables[0]
    for gradient in gradients[3:]:
        second.apply([keras.ops.convert_to_tensor(gradient.astype(np.float32))], [variable])
    np.testing.assert_array_equal(variable.numpy(), whole[-1])


@pytest.mark.parametrize(
    "optimizer",
    [
        TorchAdam(CosineSchedule(1e-3, 9, 3), 0.8, 0.98, 1e-5, 1e-4, True, True, [ParameterGroup("a", 0.5, 0.0)]),
        TorchSGD(0.5, 0.7, False, 1e-4, finetune_groups(1.0, 0.1)),
    ],
    ids=["adam", "sgd"],
)
def test_serialization_round_trip(optimizer):
    text = json.dumps(keras.optimizers.serialize(optimizer))
    restored = keras.optimizers.deserialize(json.loads(text))
    assert restored.get_config() == optimizer.get_config()
    assert restored.groups == optimizer.groups
    gradients = [[1.0, -2.0], [0.5, 0.25]]
    np.testing.assert_array_equal(descend(restored, [1, 2], gradients), descend(optimizer, [1, 2], gradients))


TWO_REPLICAS = """
import numpy as np, tensorflow as tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
import keras
from pemt_tf.training.optimizers import ParameterGroup, TorchAdam
from pemt_tf.training.schedules import LinearSchedule

def train(strategy, gradients, fused=False):
    with strategy.scope():
        variables = [keras.Variable([1.0, 2.0], name=name) for name in ("slow", "fast")]
        optimizer = TorchAdam(LinearSchedule(0.1, 8), weight_decay=0.1, decoupled=True, amsgrad=True,
                              groups=[ParameterGroup("slow", 0.5)])
        optimizer.build(variables)
    optimizer.fused = fused
    def update(gradient):
        optimizer.apply([gradient, 2.0 * gradient], variables)
    step = tf.function(lambda gradient: strategy.run(update, args=(gradient,)))
    for gradient in gradients:
        shares = [gradient] if strategy.num_replicas_in_sync == 1 else [gradient * 0.25, gradient * 0.75]
        step(strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(shares[context.replica_id_in_sync_group], tf.float32)))
    assert int(optimizer.iterations.numpy()) == len(gradients)
    return np.stack([variable.numpy() for variable in variables])

gradients = np.random.default_rng(0).normal(size=(4, 2))
two = train(strategy, gradients)
one = train(tf.distribute.OneDeviceStrategy("CPU:0"), gradients)
np.testing.assert_allclose(two, one, rtol=1e-6)
np.testing.assert_allclose(train(strategy, gradients, fused=True), one, rtol=1e-6)
assert np.abs(one - [[1.0, 2.0]]).min() > 1e-3
"""


def test_two_replicas_step_as_one_with_the_summed_gradient():
    run = subprocess.run([sys.executable, "-c", TWO_REPLICAS], capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 0, run.stderr[-2000:]

"""The whole training step against the reference: train-mode forward, gradients, two optimizer steps, statistics."""

import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from pemt_tf.config import ModelConfig
from pemt_tf.convert.checkpoint_converter import assign_reference_weights, infer_model_fields, reference_slots
from pemt_tf.models.heads import AVClassifier
from pemt_tf.training.optimizers import TorchAdam, finetune_groups
from pemt_tf.training.schedules import CosineSchedule
from tests.golden import Golden, assert_close

RATE = 1e-3


@pytest.fixture(scope="module")
def golden():
    return Golden("e2e_mid_step")


@pytest.fixture(scope="module")
def inputs(golden):
    return {
        "frames": np.moveaxis(golden["in/visual_seq"], 2, -1),
        "log_mel": np.moveaxis(golden["in/audio_seq"], 2, -1),
    }


def make_model(golden: Golden, remat: bool = False) -> AVClassifier:
    fields = infer_model_fields(golden.weights, "avbert.")
    config = ModelConfig(**fields, heads=4, layers=2, attention_dropout=0.0, hidden_dropout=0.0, remat=remat)
    model = AVClassifier(config, golden.config["classes"], dropout=0.0)
    model.build()
    report = assign_reference_weights(model, golden.weights)
    assert set(report.assigned) == set(golden.weights)
    return model


def flat(logits) -> np.ndarray:
    """[batch, segments, classes] in the reference's row order."""
    return np.asarray(logits).reshape(-1, logits.shape[-1])


def in_reference_layout(slots: list, name: str, values: dict) -> np.ndarray:
    """The value of a reference parameter, from values by variable identity."""
    slots = [slot for slot in slots if name in slot.names]
    arrays = [slot.write(np.asarray(values[id(slot.variable)])) for slot in slots]
    return arrays[0] if slots[0].row is None else np.stack(arrays)


def test_evaluation_equals_the_reference(golden, inputs):
    outputs = make_model(golden)(inputs)
    clip, sequence = (flat(ops.softmax(outputs["logits"][head])) for head in ("clip", "sequence"))
    assert_close(clip, golden["out64/eval_clip_prob"])
    assert_close(sequence, golden["out64/eval_seq_prob"])
    assert_close(clip + sequence, golden["out64/eval_sum"])


@pytest.mark.parametrize("remat", [False, True])
def test_two_training_steps_equal_the_reference(golden, inputs, remat):
    model = make_model(golden, remat)
    schedule = CosineSchedule(RATE, 10)
    optimizer = TorchAdam(schedule, epsilon=1e-6, weight_decay=5e-6, groups=finetune_groups(RATE, RATE))
    optimizer.build(model.trainable_variables)
    labels = golden["in/labels"].reshape(2, 2)
    slots = reference_slots(model)

    def forward_and_gradients():
        with tf.GradientTape() as tape:
            logits = model(inputs, training=True)["logits"]
            losses = [tf.nn.sparse_softmax_cross_entropy_with_logits(labels, head) for head in logits.values()]
            loss = sum(tf.reduce_mean(head) for head in losses)
        return logits, loss, tape.gradient(loss, model.trainable_variables)

    for step in (1, 2):
        logits, loss, gradients = forward_and_gradients()
        if step == 1:
            assert_close(flat(logits["clip"]), golden["out64/train_clip_logit"])
            assert_close(flat(logits["sequence"]), golden["out64/train_seq_logit"])
            assert_close(tf.linalg.global_norm(gradients), golden["out64/grad_norm_total"])
            by_variable = {id(v): g for v, g in zip(model.trainable_variables, gradients, strict=True)}
            for name, expected in golden.section("out64/grad/").items():
                assert_close(in_reference_layout(slots, name, by_variable), expected, 2e-5)
        assert_close(loss, golden["out64/loss" if step == 1 else "out64/loss_step2"])
        optimizer.apply(gradients)
        by_variable = {id(v): v.numpy() for v in model.variables}
        for name, expected in golden.section(f"out64/step{step}/").items():
            actual = in_reference_layout(slots, name, by_variable)
            # Adam moves an entry with a gradient near 0 by up to the rate in either direction.
            gradient = golden[f"out64/grad/{name}"] if f"out64/grad/{name}" in golden else np.ones_like(expected)
            clear = np.abs(gradient) > 1e-5
            np.testing.assert_allclose(actual, expected, rtol=0, atol=2 * RATE)
            np.testing.assert_allclose(actual[clear], expected[clear], rtol=0, atol=5e-6)


def test_mean_loss_of_the_heads_is_that_of_the_training_command(golden, inputs):
    from pemt_tf.training.finetune import classification_losses

    outputs = make_model(golden)(inputs, training=True)
    labels = np.array([3, 1])
    expected = 0.0
    for head in ("clip", "sequence"):
        logits = np.asarray(outputs["logits"][head], np.float64)
        log_probability = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        expected -= np.mean([log_probability[row, :, label] for row, label in enumerate(labels)])
    assert_close(classification_losses(outputs, tf.constant(labels))["loss"], expected)

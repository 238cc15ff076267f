"""The supervised loss of every head (docs/reference_model.md section 13)."""

from __future__ import annotations

from typing import Annotated

import keras
from keras import ops

from pemt_tf.config.allowed_values import Positive, Probability, one_of
from pemt_tf.config.argument_checks import check_arguments
from pemt_tf.config.training import LOSSES

_Loss = Annotated[str, one_of(LOSSES)]


def classification_losses(
    outputs: dict, labels, label_smoothing: float = 0.0, loss: str = "cross_entropy", margin: float = 0.1
) -> dict:
    """`<head>_loss` of every head, each segment with its clip's label, their sum `loss`, and `accuracy`; float32.

    Args:
        outputs: outputs of `AVClassifier`.
        labels: [batch] integers; or of several labels [batch, classes] float32, 1 for those of the clip. Then there is
            no accuracy, and the cross-entropy is the mean over classes of the binary one.
        label_smoothing: share of a label's weight that is spread evenly over all classes; cross-entropy only.
    """
    by_clip = head_losses(outputs, labels, label_smoothing, loss, margin)
    return {**summed({name: ops.mean(value) for name, value in by_clip.items()}), **accuracy(outputs, labels)}


def summed(by_head: dict) -> dict:
    """`<head>_loss` per head, and `loss`, their sum."""
    terms = {f"{name}_loss": value for name, value in by_head.items()}
    return {"loss": sum(terms.values()), **terms}


def accuracy(outputs: dict, labels) -> dict:
    """`accuracy`, the share of clips whose summed vote is correct, scalar float32; nothing with several labels."""
    if len(labels.shape) == 2:
        return {}
    correct = ops.equal(ops.argmax(outputs["probabilities"], axis=-1), ops.cast(labels, "int32"))
    return {"accuracy": ops.mean(ops.cast(correct, "float32"))}


@check_arguments
def head_losses(
    outputs: dict,
    labels,
    label_smoothing: Probability = 0.0,
    loss: _Loss = "cross_entropy",
    margin: Positive = 0.1,
) -> dict:
    """Loss of every clip by head: the mean over its segments, [batch] float32."""
    losses = {}
    for name, logits in outputs["logits"].items():
        if len(labels.shape) == 2:
            targets = ops.broadcast_to(labels[:, None], ops.shape(logits))
            by_segment = keras.losses.binary_crossentropy(
                targets, logits, from_logits=True, label_smoothing=label_smoothing
            )
            losses[name] = ops.mean(by_segment, axis=-1)
            continue
        repeated = ops.broadcast_to(labels[:, None], ops.shape(logits)[:2])
        if loss == "multi_margin":
            by_segment = _multi_margin(repeated, logits, margin)
        else:
            by_segment = _cross_entropy(repeated, logits, label_smoothing)
        losses[name] = ops.mean(by_segment, axis=-1)
    return losses


def _cross_entropy(labels, logits, smoothing: float):
    """[batch, segments] float32."""
    loss = keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True)
    if not smoothing:
        return loss
    return (1.0 - smoothing) * loss - smoothing * ops.mean(ops.log_softmax(logits, axis=-1), axis=-1)


def _multi_margin(labels, logits, margin: float):
    """1 / C * sum over j != y of max(0, margin - x_y + x_j), [batch, segments] float32."""
    classes = logits.shape[-1]
    is_label = ops.one_hot(ops.cast(labels, "int32"), classes, dtype=logits.dtype)
    of_label = ops.sum(logits * is_label, axis=-1, keepdims=True)
    return ops.sum(ops.relu(margin - of_label + logits) * (1.0 - is_label), axis=-1) / classes

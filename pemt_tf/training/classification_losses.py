"""The supervised loss of every head (REFERENCE.md section 13)."""

from __future__ import annotations

import keras
from keras import ops


def classification_losses(outputs: dict, labels, label_smoothing: float = 0.0) -> dict:
    """The loss of every head, each segment with its clip's label, and their sum.

    Args:
        outputs: of `AVClassifier`.
        labels: [batch] integers.
        label_smoothing: share of a label's weight that all classes get alike.

    Returns:
        `loss`, `<head>_loss` per head, and `accuracy` of the clip's summed vote; scalar float32.
    """
    terms = {f"{name}_loss": ops.mean(value) for name, value in head_losses(outputs, labels, label_smoothing).items()}
    correct = ops.equal(ops.argmax(outputs["probabilities"], axis=-1), ops.cast(labels, "int32"))
    return {"loss": sum(terms.values()), **terms, "accuracy": ops.mean(ops.cast(correct, "float32"))}


def head_losses(outputs: dict, labels, label_smoothing: float = 0.0) -> dict:
    """Head name to the loss of every clip, the mean over its segments, [batch] float32."""
    return {
        name: ops.mean(
            _cross_entropy(ops.broadcast_to(labels[:, None], ops.shape(logits)[:2]), logits, label_smoothing), -1
        )
        for name, logits in outputs["logits"].items()
    }


def _cross_entropy(labels, logits, smoothing: float):
    """[batch, segments] float32."""
    loss = keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True)
    if not smoothing:
        return loss
    return (1.0 - smoothing) * loss - smoothing * ops.mean(ops.log_softmax(logits, axis=-1), axis=-1)

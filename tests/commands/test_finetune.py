"""`pemt finetune`: what it says of the validation split."""

import pytest

from pemt_tf.commands.finetune import validation_line

ROWS = [
    {"step": 2, "loss": 1.0, "accuracy": 0.5},
    {"step": 3, "validation_accuracy": 0.75, "validation_loss": 0.9},
    {"step": 6, "validation_accuracy": 0.875, "validation_loss": 0.8},
    {"step": 9, "validation_accuracy": 0.875, "validation_loss": 0.7},
    {"step": 11, "validation_accuracy": 0.5, "validation_loss": 0.6},
]


@pytest.mark.parametrize(
    ("rows", "select", "line"),
    [
        (ROWS, "last", "validation accuracy: 50.0% at step 11"),
        (ROWS, "best_validation", "validation accuracy: 87.5% at step 9, which was chosen by it"),
        (ROWS[:1], "last", ""),
        ([], "last", ""),
    ],
)
def test_validation_line(rows, select, line):
    assert validation_line(rows, select) == line

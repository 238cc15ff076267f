"""The warning of a pretraining that has not begun to learn."""

import pytest

from pemt_tf.training.plateau import plateau_line

FIRST = {"loss": 20.5, "mep_visual_context": 4.8, "mep_audio_context": 4.8, "mep_accuracy": 0.01}


def row(loss):
    return {**FIRST, "mep_visual_context": loss, "mep_accuracy": 0.9}


@pytest.mark.parametrize(
    ("step", "steps", "loss", "told"),
    [
        (500, 1000, 4.79, True),
        (500, 1000, 4.9, True),
        (1000, 1000, 4.79, True),
        (490, 1000, 4.79, False),  # the first half may be slow
        (500, 1000, 4.6, False),  # 9.4 of 9.6
        (90, 100, 4.8, False),  # a trial
    ],
)
def test_it_is_said_in_the_second_half_of_a_run_that_guesses(step, steps, loss, told):
    line = plateau_line(step, steps, row(loss), FIRST)

    assert bool(line) is told
    if told:
        assert (
            f"at step {step} of {steps}" in line and "was 9.60 at the start" in line and "--set pretrain.seed" in line
        )


def test_the_first_line_and_fine_tuning_are_never_a_plateau():
    assert plateau_line(1000, 1000, FIRST, FIRST) == ""
    assert plateau_line(1000, 1000, {"loss": 2.3}, {"loss": 2.3}) == ""

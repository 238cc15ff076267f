"""The warning about a pretraining that has not started to learn: its masked predictions are no better than guesses."""

from __future__ import annotations

SHORTEST = 200  # steps of a run; shorter ones are trials
GUESSING = 0.99  # of the loss at the start


def plateau_line(step: int, steps: int, row: dict[str, float], first: dict[str, float]) -> str:
    """The warning in the second half of a run whose masked predictions are no better than at the start; else empty.

    At the start all candidates get about the same score, so the loss is that of a random guess. A run stays there for a
    while and then starts to learn; how long it takes depends on seed, learning rate and data. The limits are ours.
    """
    now, then = (sum(each[name] for name in _terms(row)) for each in (row, first))
    if steps < SHORTEST or 2 * step < steps or row is first or now <= GUESSING * then:
        return ""
    return (
        f"warning: nothing is learned yet at step {step} of {steps}: the masked prediction loss is {now:.2f}, and was "
        f"{then:.2f} at the start. Try --set pretrain.seed=1, a higher --set pretrain.learning_rate=, or more steps"
    )


def _terms(row: dict[str, float]) -> list[str]:
    return [name for name in row if name.startswith("mep_") and name != "mep_accuracy"]

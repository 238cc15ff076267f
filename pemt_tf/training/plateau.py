"""A pretraining that has not begun to learn: its masked predictions are as good as guesses."""

from __future__ import annotations

SHORTEST = 200  # steps of a run; shorter ones are trials
GUESSING = 0.99  # of the loss at the start


def plateau_line(step: int, steps: int, row: dict[str, float], first: dict[str, float]) -> str:
    """What to tell people in the second half of a run whose masked predictions are no better than at the start.

    At the start all candidates are alike, so that the loss is that of guessing. Runs stay there for a while and then
    begin to learn; when depends on seed, learning rate and data. The limits are ours.

    Args:
        step: of the log line.
        steps: of the whole run.
        row: of the log line.
        first: the run's first log line.

    Returns:
        One line; empty if there is nothing to say.
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

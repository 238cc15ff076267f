"""What the weights of a run have seen: its own training and those that it began from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pemt_tf.errors import PemtError
from pemt_tf.training.run_directory import RunDirectory
from pemt_tf.training.same_run import HISTORY

_TOLD = ("kind", "data_hash", "split")


def initial_entries(initial: RunDirectory | None) -> dict[str, Any]:
    """What a run's description says of the run that it starts from."""
    if initial is None:
        return {"initial": None, HISTORY: []}
    return {
        "initial": str(initial.path),
        "initial_hash": initial.weights_hash(),
        HISTORY: training_history(initial.description()),
    }


def training_history(description: dict[str, Any]) -> list[dict[str, str]]:
    """The trainings that led to the weights of a run, the last one first.

    Args:
        description: the run's `run.json`.

    Returns:
        Of every training `kind`, `data_hash` and `split`. Runs of older releases name only the folder that they began
        from; where that is gone, its trainings are not known and left out.
    """
    own = [{name: description.get(name, "") for name in _TOLD}] if description.get("split") else []
    if HISTORY in description:
        return own + description[HISTORY]
    initial = description.get("initial")
    if not initial:
        return own
    try:
        return own + training_history(RunDirectory(Path(initial)).description())
    except PemtError:
        return own

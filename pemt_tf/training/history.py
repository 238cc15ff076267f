"""Descriptions of runs: the data that the weights of a run have seen, in its own training and in earlier ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pemt_tf.data.clip_source import ClipSource
from pemt_tf.errors import PemtError
from pemt_tf.training.run_directory import RunDirectory
from pemt_tf.training.same_run import HISTORY

_TOLD = ("kind", "data_hash", "split")


def run_description(
    kind: str, source: ClipSource, split: str, initial: RunDirectory | None, **more: Any
) -> dict[str, Any]:
    """The content of `run.json`: the kind of run, its data, and the run that it starts from."""
    return {
        "kind": kind,
        **more,
        "data": source.name,
        "data_hash": source.content_hash,
        "split": split,
        "initial": None if initial is None else str(initial.path),
        **({} if initial is None else {"initial_hash": initial.weights_hash()}),
        HISTORY: [] if initial is None else training_history(initial.description()),
        "selection": "last step",
    }


def training_history(description: dict[str, Any]) -> list[dict[str, str]]:
    """`kind`, `data_hash` and `split` of the trainings that led to the weights of a run, the last one first.

    Runs of older releases name only the folder that they started from; if that is gone, its trainings are omitted.
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

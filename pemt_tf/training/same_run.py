"""The settings that may change when a run continues: those that do not affect its weights, and more steps."""

from __future__ import annotations

from typing import Any

HISTORY = "history"  # field of `run.json`: the trainings that a run started from, see `history.training_history`
_NAMED_BY = {"data": "data_hash", "initial": "initial_hash"}
_OTHER = {"pretrain": "finetune.", "finetune": "pretrain."}  # kind of run: fields that it does not use
_MAY_CHANGE = ("keep", "log_every", "checkpoint_every", "images_every", "steps_per_call")  # weights stay the same


def differences(kind: str, old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Names of changed fields that make it a different run; `old` and `new` are configuration and description, flat."""

    def matters(name: str) -> bool:
        if name == f"{kind}.steps":
            return new[name] < old[name]
        if name in _NAMED_BY:  # a path, which may have moved
            known = old.get(_NAMED_BY[name]), new.get(_NAMED_BY[name])
            return not all(known) or known[0] != known[1]
        if name == HISTORY:
            return False
        if name == "initial_hash":
            return bool(old.get(name) and new.get(name))  # older runs have none
        return name not in {f"{kind}.{field}" for field in _MAY_CHANGE} and not name.startswith(_OTHER.get(kind, " "))

    return sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name) and matters(name))

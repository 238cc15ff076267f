"""The collapse alarm: all clips of a modality have nearly the same token."""

from __future__ import annotations

_SUFFIX = "_spread"
SMALLEST_SPREAD = 0.02
SMALLEST_SHARE = 0.1


def collapse_alarms(row: dict[str, float], first: dict[str, float]) -> dict[str, float]:
    """`<modality>_collapsed`, 1.0 or 0.0, for every `<modality>_spread` of a log line.

    Tokens are layer-normed, so each has a size of about 1 per element. Their spread is the standard deviation over the
    batch, averaged over elements: 1 for independent tokens, 0 for equal ones. The alarm is on below 0.02, or below a
    tenth of the first log line's value; healthy runs stay far above both. The limits are ours.
    """
    alarms = {}
    for name, spread in row.items():
        if name.endswith(_SUFFIX):
            limit = max(SMALLEST_SPREAD, SMALLEST_SHARE * first.get(name, spread))
            alarms[name.removesuffix(_SUFFIX) + "_collapsed"] = float(spread < limit)
    return alarms


def alarm_line(step: int, row: dict[str, float], alarms: dict[str, float]) -> str:
    """The warning for the user; empty if no alarm is on."""
    on = [name.removesuffix("_collapsed") for name, value in alarms.items() if value]
    if not on:
        return ""
    shown = ", ".join(f"{modality} {row[modality + _SUFFIX]:.4f}" for modality in on)
    return (
        f"warning: tokens have collapsed at step {step}: nearly the same for all clips (spread {shown}). Lower the "
        "learning rate, enlarge the batch, or try --set pretrain.stop_target_gradient=true"
    )

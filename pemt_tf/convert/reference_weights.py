"""Assigns the authors' weights to our models, and exports ours under the authors' names.

report = assign_reference_weights(model, weights, prefix="avbert.")   # theirs to ours
weights = export_reference_weights(model, prefix="avbert.")           # ours to theirs
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import keras
import numpy as np
import scipy.linalg

from pemt_tf.convert.reference_slots import WeightSlot, reference_slots
from pemt_tf.errors import PemtError
from pemt_tf.models.av_transformer import AVTransformer
from pemt_tf.models.heads import AVClassifier

_MODALITIES = 2  # rows of the authors' summary table
_PARAMETER, _CACHED = ".A", "._B"
_SMALL = 1e-3  # smaller parameters give nearly the identity for every kind of rotation


@dataclass(frozen=True)
class ConversionReport:
    """What happened to each name."""

    assigned: tuple[str, ...] = ()  # including aliases
    dropped: Mapping[str, str] = field(default_factory=dict)  # names that are not needed here, with the reason
    missing: tuple[str, ...] = ()  # needed, but not among the weights
    left_over: tuple[str, ...] = ()  # not known


def assign_reference_weights(
    target: keras.layers.Layer,
    weights: Mapping[str, np.ndarray],
    prefix: str = "",
    allow_missing: bool = False,
    groups: Mapping[str, int] | None = None,
) -> ConversionReport:
    """Fills a built model or layer with the authors' weights by reference name, all or nothing; see `reference_slots`.

    Raises:
        PemtError: a shape differs, aliases hold different values, a rotation has a base other than the identity or is
            of the other kind (if the weights show it), or (without `allow_missing`) a name is missing or left over.
    """
    slots = reference_slots(target, prefix, groups)
    _require_rotation(slots, weights)
    found, missing = [], []
    for slot in slots:
        present = [name for name in slot.names if name in weights]
        if present:
            found.append((slot, present, _fitting_value(slot, present, weights)))
        else:
            missing.append(slot.names[0])
    assigned = {name for _, present, _ in found for name in present}
    dropped, left_over = _sort_others(target, prefix, slots, weights, assigned)
    report = ConversionReport(tuple(sorted(assigned)), dropped, tuple(dict.fromkeys(missing)), tuple(left_over))
    if not allow_missing:
        _refuse_incomplete(report)
    for slot, _, value in found:
        slot.variable.assign(value)
    return report


def export_reference_weights(
    target: keras.layers.Layer, prefix: str = "", groups: Mapping[str, int] | None = None
) -> dict[str, np.ndarray]:
    """The inverse of `assign_reference_weights`: our weights under canonical names, float32, in the authors' layout.

    Rotations stored as a strict triangle become full squares; their lower triangle, never read, is 0.
    """
    weights: dict[str, np.ndarray] = {}
    for slot in reference_slots(target, prefix, groups):
        value = slot.write(np.asarray(keras.ops.convert_to_numpy(slot.variable), np.float32))
        if slot.row is None:
            weights[slot.names[0]] = value
        else:
            table = weights.setdefault(slot.names[0], np.zeros((_MODALITIES, *value.shape), np.float32))
            table[slot.row] = value
    return weights


def _require_rotation(slots: list[WeightSlot], weights: Mapping[str, np.ndarray]) -> None:
    told = rotation_kind(weights)
    others = sorted({slot.rotation for slot in slots if slot.rotation} - {told})
    if told and others:
        raise PemtError(
            f"the weights were trained with the rotation {told}, as their cached rotations show; "
            f"this model has {others[0]}; give it model.rotation={told}"
        )


def _fitting_value(slot: WeightSlot, present: list[str], weights: Mapping[str, np.ndarray]) -> np.ndarray:
    """The values of a slot in our layout; checks aliases and the shape."""
    array = np.asarray(weights[present[0]], np.float32)
    for alias in present[1:]:
        if not np.array_equal(array, np.asarray(weights[alias], np.float32)):
            raise PemtError(
                f"{present[0]} and {alias} are one parameter in this model but differ in the weights; "
                "choose a sharing that keeps them apart"
            )
    try:
        value = slot.read(array)
    except (ValueError, IndexError):
        value = array
    if value.shape != tuple(slot.variable.shape):
        raise PemtError(
            f"{present[0]} has shape {array.shape}, which does not fit {slot.variable.path} of shape "
            f"{tuple(slot.variable.shape)}; the model has other sizes than the weights"
        )
    return value


def _refuse_incomplete(report: ConversionReport) -> None:
    problems = [
        f"{len(names)} {kind} (the first is {names[0]})"
        for kind, names in (("missing", report.missing), ("left over", report.left_over))
        if names
    ]
    if problems:
        raise PemtError(
            f"the weights do not fit the model: {' and '.join(problems)}; "
            "give a configuration that matches them, or allow missing names to continue"
        )


def _sort_others(target, prefix, slots, weights, assigned) -> tuple[dict[str, str], list[str]]:
    """Divides the names without a slot into those dropped for a known reason and those left over."""
    known = {name for slot in slots for name in slot.names}
    dropped, left_over = {}, []
    for name in weights:
        if name in assigned:
            continue
        reason = _reason_to_drop(name, target, prefix, known)
        if name.endswith("_linear.base"):
            _require_identity(name, np.asarray(weights[name]))
        if reason:
            dropped[name] = reason
        else:
            left_over.append(name)
    return dropped, left_over


def _reason_to_drop(name: str, target, prefix: str, known: set[str]) -> str | None:
    if name.endswith("._B"):
        return "cached rotation"
    if name.endswith("_linear.base"):
        return "identity base of a rotation"
    if name.endswith(".num_batches_tracked"):
        return "counter of batches"
    if name.endswith(".position_ids"):
        return "constant positions"
    group = re.fullmatch(r"(.*?)(?:orthogonal_)?ms\d+_linear\.(?:weight|A)", name)
    if group and f"{group[1]}s_linear.weight" in known:
        return "modality group that this Transformer does not serve"
    if isinstance(target, AVTransformer):
        if "head" in name.removeprefix(prefix).split(".")[0]:
            return "head"
        return _absent_stream(name.removeprefix(prefix), target)
    if isinstance(target, AVClassifier):
        return _absent_stream(name.removeprefix(f"{prefix}avbert."), target.backbone)
    return None


def _absent_stream(name: str, model: AVTransformer) -> str | None:
    """Why the weights of a whole stream are dropped, if the name is one of a stream that the model does not have."""
    for modality in ("visual", "audio"):
        parts = f"{modality}_conv|{modality}_fc|{modality}_norm|single_{modality}_|summary_encoding.bos_{modality}_norm"
        if modality not in model.config.modalities and re.match(parts, name):
            return f"the model has no {modality} stream"
    if not model.fuses and name.startswith("multi_"):
        return "the model has no joint stream"
    return None


def _require_identity(name: str, base: np.ndarray) -> None:
    if base.ndim != 2 or base.shape[0] != base.shape[1] or not np.allclose(base, np.eye(len(base)), atol=1e-6):
        raise PemtError(
            f"{name} is not the identity: the weights come from a training that moved the base of its rotations, "
            "which this model does not have"
        )


def rotation_kind(weights: Mapping[str, np.ndarray]) -> str | None:
    """`exponential` or `cayley`; None if the weights do not show it.

    The meaning of a parameter A depends on the kind. The authors' code saves the last computed rotation as `_B` beside
    A: one kind gives it, at least nearly if A has changed since, and the other is far off.
    """
    for name, cached in weights.items():
        raw = weights.get(name.removesuffix(_CACHED) + _PARAMETER) if name.endswith(_CACHED) else None
        if raw is None or np.ndim(raw) != 2 or not np.shape(cached) == np.shape(raw) == np.shape(raw)[::-1]:
            continue
        upper = np.triu(np.asarray(raw, np.float64), 1)
        skew, one = upper - upper.T, np.eye(len(upper))
        if not np.isfinite(skew).all() or np.abs(skew).max(initial=0.0) < _SMALL:
            continue
        rotations = {"exponential": scipy.linalg.expm(skew), "cayley": np.linalg.solve(one + skew, one - skew)}
        off = {kind: np.abs(rotation - cached).max() for kind, rotation in rotations.items()}
        nearest, other = sorted(off, key=off.__getitem__)
        if off[nearest] < off[other] / 4:
            return nearest
    return None

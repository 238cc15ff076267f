"""The kind of rotation that the authors' weights were trained with, if they show it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import scipy.linalg

_PARAMETER, _CACHED = ".A", "._B"
_SMALL = 1e-3  # smaller parameters give nearly the identity for every kind of rotation


def rotation_kind(weights: Mapping[str, np.ndarray]) -> str | None:
    """`exponential` or `cayley`; None if the weights do not show it.

    The meaning of a parameter A depends on the kind. The authors' code saves the last computed rotation as `_B` beside
    A: one kind gives it, at least nearly if A has changed since, and the other is far off.
    """
    for name, cached in weights.items():
        raw = weights.get(name.removesuffix(_CACHED) + _PARAMETER) if name.endswith(_CACHED) else None
        if (
            raw is None
            or np.shape(raw) != np.shape(cached)
            or np.ndim(raw) != 2
            or np.shape(raw)[0] != np.shape(raw)[1]
        ):
            continue
        upper = np.triu(np.asarray(raw, np.float64), 1)
        skew, identity = upper - upper.T, np.eye(len(upper))
        if not np.isfinite(skew).all() or np.abs(skew).max(initial=0.0) < _SMALL:
            continue
        rotations = {
            "exponential": scipy.linalg.expm(skew),
            "cayley": np.linalg.solve(identity + skew, identity - skew),
        }
        off = {kind: np.abs(rotation - cached).max() for kind, rotation in rotations.items()}
        nearest, other = sorted(off, key=off.__getitem__)
        if off[nearest] < off[other] / 4:
            return nearest
    return None

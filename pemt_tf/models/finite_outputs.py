"""Checks that a network's outputs are finite, and names the clips whose outputs are not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pemt_tf.errors import PemtError

_NAMED = 3


def finite_rows(values: np.ndarray) -> np.ndarray:
    """[clips] bool: whether all values of a clip are finite, from [clips, ...] values."""
    values = np.asarray(values)
    return np.asarray(np.isfinite(values).all(axis=tuple(range(1, values.ndim))))


def require_finite(values: np.ndarray, ids: Sequence[str] | None = None, what: str = "the network's output") -> None:
    """Refuses NaN and infinity.

    Args:
        values: [clips, ...] numbers.
        ids: the clips' ids; None names rows by number.
        what: name of the values, for the message.

    Raises:
        PemtError: names the first clips.
    """
    rows = np.flatnonzero(~finite_rows(values))
    if not len(rows):
        return
    named = [f"row {row}" if ids is None else f"clip {str(ids[row])!r}" for row in rows[:_NAMED]]
    more = f" and {len(rows) - _NAMED} more" if len(rows) > _NAMED else ""
    raise PemtError(
        f"{what} for {', '.join(named)}{more} is NaN or infinite, so no figure can be made of it; look at the "
        "clip, or train again"
    )

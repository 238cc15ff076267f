"""JSON without NaN and infinity: such a number is refused, and the message names its field."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

from pemt_tf.errors import PemtError


def json_text(values: Any, **layout: Any) -> str:
    """Plain values as JSON; PemtError with the field's name if a number is NaN or infinite.

    `layout` are further arguments of `json.dumps`, such as `indent`.
    """
    try:
        return json.dumps(values, allow_nan=False, **layout)
    except ValueError:
        for name, number in _not_finite(values, ""):
            raise PemtError(
                f"the field {name} is {number}, which is not a figure, so nothing was written; look at the clips with "
                "`pemt doctor --data`, or train again"
            ) from None
        raise


def read_json(text: str) -> Any:
    """The values of a JSON text; ValueError for other text, and for NaN or infinity, which older releases wrote."""

    def refuse(name: str) -> None:
        raise ValueError(f"it holds {name}, which is not a figure")

    return json.loads(text, parse_constant=refuse)


def finite_or_none(row: dict[str, float]) -> dict[str, float | None]:
    """A row of metrics for JSON: NaN and infinity become None."""
    return {name: value if math.isfinite(value) else None for name, value in row.items()}


def _not_finite(values: Any, name: str) -> Iterator[tuple[str, float]]:
    if isinstance(values, dict):
        for key, value in values.items():
            yield from _not_finite(value, f"{name}.{key}" if name else str(key))
    elif isinstance(values, (list, tuple)):
        for place, value in enumerate(values):
            yield from _not_finite(value, f"{name}[{place}]")
    elif isinstance(values, float) and not math.isfinite(values):
        yield name, values

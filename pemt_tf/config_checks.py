"""Checks of configuration fields: each message says what was given, what is allowed, and where."""

from __future__ import annotations

import dataclasses
import numbers
from collections.abc import Iterable

from pemt_tf.errors import PemtError

_SCALARS = {
    "int": (numbers.Integral, "a whole number"),
    "float": (numbers.Real, "a number"),
    "bool": (bool, "true or false"),
}


def require(condition: bool, name: str, value: object, allowed: str) -> None:
    """Raises PemtError with the field, its value and what is allowed, unless the condition holds."""
    if not condition:
        raise PemtError(f"configuration field {name} is {value!r}; allowed: {allowed}")


def require_one_of(name: str, value: object, allowed: Iterable[str]) -> None:
    """Raises PemtError unless the value is one of the allowed ones."""
    require(value in allowed, name, value, ", ".join(allowed))


def check_scalars(owner: object) -> None:
    """Refuses text for numbers, fractions for counts and the like, which would fail much later."""
    for each in dataclasses.fields(owner):
        kind, allowed = _SCALARS.get(each.type, (object, ""))
        value = getattr(owner, each.name)
        fits = isinstance(value, kind) and (each.type == "bool" or not isinstance(value, bool))
        require(fits or not allowed, f"{type(owner).__name__}.{each.name}", value, allowed)


def require_positive(owner: object, *names: str) -> None:
    """Raises PemtError unless these fields are above 0."""
    for name in names:
        value = getattr(owner, name)
        require(value > 0, f"{type(owner).__name__}.{name}", value, "a number above 0")

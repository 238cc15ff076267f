"""Checks of configurations: each message says which field, as the user writes it, what it is, and what is allowed."""

from __future__ import annotations

import dataclasses
import typing

from pemt_tf.config.allowed_values import problem, rules_of, shown
from pemt_tf.errors import PemtError


def require(condition: bool, name: str, value: object, allowed: str) -> None:
    """Raises PemtError with the field, its value and what is allowed, unless the condition holds."""
    if not condition:
        raise PemtError(f"configuration field {name} is {shown(value)}; allowed: {allowed}")


def check_fields(owner: object, section: str = "") -> None:
    """Holds every field of a dataclass to the rule of its type, and puts it in its plain form.

    Args:
        owner: the dataclass, frozen; a field is another dataclass, or has a type of `pemt_tf.config.allowed_values`.
        section: name of the part of the configuration, `pretrain`.
    """
    rules, hints = rules_of(type(owner)), typing.get_type_hints(type(owner))
    for each in dataclasses.fields(owner):
        value, name = getattr(owner, each.name), f"{section}.{each.name}" if section else each.name
        if dataclasses.is_dataclass(hints[each.name]):
            kind = hints[each.name]
            require(isinstance(value, kind), name, value, f"a {kind.__name__}")
            continue
        try:
            plain = rules[each.name].read(value)
        except (ValueError, TypeError, OverflowError):
            raise PemtError(f"configuration field {name} {problem(value, rules[each.name])}") from None
        object.__setattr__(owner, each.name, plain)

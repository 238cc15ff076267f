"""Checks of configurations: each message names the field as the user writes it, its value, and what is allowed."""

from __future__ import annotations

import dataclasses
import typing
from typing import Any, TypeVar

from pemt_tf.config.allowed_values import problem, rules_of, shown
from pemt_tf.errors import PemtError, did_you_mean

Section = TypeVar("Section")


def require(condition: bool, name: str, value: object, allowed: str) -> None:
    """Raises PemtError with the field, its value and what is allowed, unless the condition holds."""
    if not condition:
        raise PemtError(f"configuration field {name} is {shown(value)}; allowed: {allowed}")


def check_fields(owner: Any, section: str = "") -> None:
    """Checks every field of a frozen dataclass against the rule of its type, and stores it in its plain form.

    A field without a rule is another dataclass. `section` is the part of the configuration that messages name.
    """
    rules, hints = rules_of(type(owner)), typing.get_type_hints(type(owner))
    for each in dataclasses.fields(owner):
        value, name = getattr(owner, each.name), f"{section}.{each.name}" if section else each.name
        if dataclasses.is_dataclass(hints[each.name]):
            kind: Any = hints[each.name]
            require(isinstance(value, kind), name, value, f"a {kind.__name__}")
            continue
        try:
            plain = rules[each.name].read(value)
        except (ValueError, TypeError, OverflowError):
            raise PemtError(f"configuration field {name} {problem(value, rules[each.name])}") from None
        object.__setattr__(owner, each.name, plain)


def build_section(name: str, kind: type[Section], values: Any) -> Section:
    """Makes the dataclass of a section from its fields, or from None; raises PemtError if one is unknown."""
    values = {} if values is None else values
    refuse_unknown(name, values, [each.name for each in dataclasses.fields(typing.cast(Any, kind))])
    return kind(**values)


def refuse_unknown(section: str, given: Any, known: list[str]) -> None:
    """Raises PemtError unless `given` is a dict whose keys are all known."""
    where = f"configuration section {section}" if section else "the configuration"
    if not isinstance(given, dict):
        raise PemtError(f"{where} is {shown(given)}; it must give fields their values, as in `rank: 64`")
    unknown = sorted(map(str, set(given) - set(known)))
    if unknown:
        raise PemtError(
            f"{where} has no field {shown(unknown[0])}; known: {', '.join(known)}{did_you_mean(unknown[0], known)}"
        )

"""Types that say which values a configuration field or a layer's argument may have, as in `rank: Count`.

`pemt_tf.config.checks` checks configurations by them, `pemt_tf.config.argument_checks` constructors and functions.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import numbers
import struct
import typing
from collections.abc import Callable, Sequence
from typing import Annotated, Any

LARGEST_WHOLE = 2**31 - 1  # sizes, steps and seeds become int32 tensors
_LONGEST = 120


@dataclasses.dataclass(frozen=True)
class Rule:
    """The allowed values in words, as messages show them, and a function from a value to its plain form.

    `read` raises ValueError, TypeError or OverflowError for a value that is not allowed.
    """

    allowed: str
    read: Callable[[Any], Any]

    def __repr__(self) -> str:
        return self.allowed  # in signatures of the API reference


def whole(least: int = 1, most: int = LARGEST_WHOLE, allowed: str = "") -> Rule:
    """Whole numbers; 1e3 is one."""

    def read(value: Any) -> int:
        _inside(value, _is_number(value) and value == int(value) and least <= value <= most)
        return int(value)

    upper = " or more" if most == LARGEST_WHOLE else f" to {most}"
    return Rule(allowed or f"a whole number, {least}{upper}", read)


def number(
    least: float = -math.inf,
    most: float = math.inf,
    above: float = -math.inf,
    below: float = math.inf,
    allowed: str = "",
) -> Rule:
    """Finite numbers that fit float32, which is what they become."""

    def read(value: Any) -> float:
        _inside(value, _is_number(value))
        plain = value if type(value) in (int, float) else float(value)
        (single,) = struct.unpack("f", struct.pack("f", float(plain)))  # OverflowError where it does not fit
        return _inside(plain, math.isfinite(single) and least <= plain <= most and above < single < below)

    low = f", {least:g} or more" if least > -math.inf else f" above {above:g}" if above > -math.inf else ""
    high = f", at most {most:g}" if most < math.inf else f", below {below:g}" if below < math.inf else ""
    return Rule(allowed or f"a finite number{low}{high}", read)


def one_of(choices: Sequence) -> Rule:
    """One of several words, or of several whole numbers."""
    choices = tuple(choices)
    plain = whole().read if isinstance(choices[0], int) else lambda value: _inside(value, isinstance(value, str))

    def read(value: Any) -> Any:
        return _inside(plain(value), value in choices)

    return Rule(", ".join(map(str, choices)), read)


def names(choices: Sequence[str] | None = None, least: int = 0, allowed: str = "") -> Rule:
    """A list of different words: of `choices`, or any words, and at least `least` of them."""

    def read(value: Any) -> tuple[str, ...]:
        fits = isinstance(value, (list, tuple)) and all(isinstance(name, str) and name for name in value)
        known = fits and (choices is None or all(name in choices for name in value))
        return _inside(tuple(value), known and len(set(value)) == len(value) >= least)

    of = "names" if choices is None else f"these names: {', '.join(choices)}"
    return Rule(allowed or f"a list of {of}, none of them twice{'' if least == 0 else f', at least {least}'}", read)


def list_of(rule: Rule, length: int | None = None, allowed: str = "") -> Rule:
    """A list of values that follow `rule`, of one length or of any."""

    def read(value: Any) -> tuple:
        items = _inside(value, isinstance(value, (list, tuple)) and length in (None, len(value)))
        return tuple(map(rule.read, items))

    return Rule(allowed or f"a list, each {rule.allowed}", read)


def _is_number(value: object) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _inside(value: Any, condition: bool) -> Any:
    if not condition:
        raise ValueError
    return value


def problem(value: object, rule: Rule) -> str:
    """`is VALUE; allowed: ...`, on one line of bounded length."""
    return f"is {shown(value)}; allowed: {rule.allowed}"


def shown(value: object) -> str:
    """A value in a message."""
    try:
        said = " ".join(repr(value).split())
    except Exception:  # a number of thousands of digits, or an object that cannot describe itself
        said = f"a {type(value).__name__}"
    return said if len(said) <= _LONGEST else f"{said[:_LONGEST]}..."


@functools.cache
def rules_of(owner: type | Callable) -> dict[str, Rule]:
    """The rules of a dataclass' fields or of a function's arguments, by name; those without a rule are omitted."""
    rules = {}
    for name, hint in typing.get_type_hints(owner, include_extras=True).items():
        options = typing.get_args(hint)
        notes = [note for option in (hint, *options) for note in getattr(option, "__metadata__", ())]
        rule = next((note for note in notes if isinstance(note, Rule)), None)
        if rule is not None:
            rules[name] = _or_none(rule) if type(None) in options else rule
    return rules


def _or_none(rule: Rule) -> Rule:
    return Rule(f"{rule.allowed}; or None", lambda value: None if value is None else rule.read(value))


Count = Annotated[int, whole(1)]
CountFrom0 = Annotated[int, whole(0)]
Seed = Annotated[int, whole(0)]
Positive = Annotated[float, number(above=0)]
NotNegative = Annotated[float, number(least=0)]
Share = Annotated[float, number(least=0, most=1, allowed="a share from 0 to 1")]
PositiveShare = Annotated[float, number(above=0, most=1, allowed="a share above 0, at most 1")]
Probability = Annotated[float, number(least=0, below=1, allowed="a probability from 0 to below 1")]
_TRUTH = Rule("true or false", lambda value: _inside(bool(value), type(value).__name__ in ("bool", "bool_")))


def truth_or(word: str) -> Rule:
    """True, false, or a word."""
    return Rule(
        f"true, false or {word}",
        lambda value: value if isinstance(value, str) and value == word else _TRUTH.read(value),
    )


_TEXT = Rule("text, not empty", lambda value: _inside(value, isinstance(value, str) and bool(value.strip())))
Truth = Annotated[bool, _TRUTH]
Text = Annotated[str, _TEXT]
Names = Annotated[tuple[str, ...], names()]
SomeNames = Annotated[tuple[str, ...], names(least=1)]

# Words that the configuration and layers share.
MODALITIES = ("visual", "audio")
ROTATIONS = ("exponential", "cayley")
ROTATION_STORAGE = ("strict_triangle", "square", "folded")
RESNET_DEPTHS = (18, 34, 50)

Rotation = Annotated[str, one_of(ROTATIONS)]
RotationStorage = Annotated[str, one_of(ROTATION_STORAGE)]
ResNetDepth = Annotated[int, one_of(RESNET_DEPTHS)]

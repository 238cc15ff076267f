"""Checks of the arguments of layers, models and losses, by their types; see `pemt_tf.config.allowed_values`."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any, TypeVar, cast

from pemt_tf.config.allowed_values import problem, rules_of, shown
from pemt_tf.errors import ArgumentError

F = TypeVar("F", bound=Callable)


def check_arguments(function: F) -> F:
    """Makes a function check its arguments by the rules of their types, and pass them on in plain form.

    A call with another value raises ArgumentError, which names the argument, its value and what is allowed.
    """
    signature = inspect.signature(function)
    owner = function.__qualname__.removesuffix(".__init__")

    @functools.wraps(function)
    def checked(*args: Any, **kwargs: Any) -> Any:
        bound, rules = signature.bind(*args, **kwargs), rules_of(function)
        for name in [each for each in bound.arguments if each in rules]:
            value = bound.arguments[name]
            try:
                bound.arguments[name] = rules[name].read(value)
            except (ValueError, TypeError, OverflowError):
                raise ArgumentError(f"{owner}: {name} {problem(value, rules[name])}") from None
        return function(*bound.args, **bound.kwargs)

    cast(Any, checked).__signature__ = signature  # Keras reads the names of a constructor's arguments
    return cast(F, checked)


def require_argument(condition: bool, owner: object, name: str, value: object, allowed: str | Iterable[str]) -> None:
    """Raises ArgumentError with the layer, its argument and what is allowed, unless the condition holds."""
    if not condition:
        allowed = allowed if isinstance(allowed, str) else ", ".join(allowed)
        raise ArgumentError(f"{type(owner).__name__}: {name} is {shown(value)}; allowed: {allowed}")

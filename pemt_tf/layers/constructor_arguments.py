"""The constructor's arguments of a layer, for its `get_config`."""

from __future__ import annotations

import inspect
from typing import Any


def constructor_arguments(layer: object, of_class: type) -> dict[str, Any]:
    """Argument name to value, for a class that keeps each argument in an attribute of the same name.

    Args:
        layer: instance of the class, or of a subclass with arguments of its own.
        of_class: class whose arguments are wanted.
    """
    parameters = list(inspect.signature(of_class).parameters.values())
    return {each.name: getattr(layer, each.name) for each in parameters if each.kind is not each.VAR_KEYWORD}

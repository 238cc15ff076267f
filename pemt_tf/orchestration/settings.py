"""A pipeline's settings: a dataclass, filled from one YAML file, each field of which an environment variable overrides.

Engines start a pipeline file without arguments, so a file and the environment are the only ways in.
"""

from __future__ import annotations

import dataclasses
import os
import shlex
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeGuard, TypeVar

from pemt_tf.config.yaml_reader import parse_yaml, read_yaml
from pemt_tf.errors import PemtError

VARIABLE_PREFIX = "PEMT_PIPELINE_"
FILE_VARIABLE = f"{VARIABLE_PREFIX}CONFIG"

Settings = TypeVar("Settings")
_EXPECTED = {
    "str": "text",
    "Path": "a path",
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "tuple": "a list of words",
}


def load_settings(
    kind: type[Settings], default_file: Path, environment: Mapping[str, str], some: bool = False
) -> Settings:
    """Reads the YAML file, then the environment. Paths become absolute: engines run nodes in folders of their own.

    Args:
        kind: a dataclass whose fields are text, paths, numbers, truth values, tuples of words, or other dataclasses.
        default_file: the YAML file, unless the variable `PEMT_PIPELINE_CONFIG` names another one.
        some: whether `kind` has only some of the pipeline's fields, so that others are ignored.
    """
    path = Path(environment.get(FILE_VARIABLE) or default_file).expanduser()
    values = read_yaml(path, "the pipeline configuration")
    known = None if some else {FILE_VARIABLE, *map(_variable, field_names(kind))}
    return _build(kind, values, str(path), _variables(environment, known), some)


def field_names(kind: type, prefix: str = "") -> list[str]:
    """Paths of all fields of a dataclass, such as `trainer.cpu_devices`."""
    names = []
    for name, hint in typing.get_type_hints(kind).items():
        names += field_names(hint, f"{prefix}{name}.") if _is_section(hint) else [prefix + name]
    return names


def absolute(path: str | Path) -> Path:
    """The absolute path, with `~` expanded and links kept."""
    return Path(os.path.abspath(Path(path).expanduser()))  # noqa: PTH100 (keeps links)


DEFAULT_ROOT = absolute("~/tfx/pemt")


def require(condition: bool, name: str, value: object, allowed: str) -> None:
    """Raises PemtError with the field, its value and what is allowed, unless the condition holds."""
    if not condition:
        raise PemtError(f"pipeline configuration field {name} is {value!r}; allowed: {allowed}")


def _is_section(hint: Any) -> TypeGuard[type]:
    return isinstance(hint, type) and dataclasses.is_dataclass(hint)


def _variable(field: str) -> str:
    return VARIABLE_PREFIX + field.upper().replace(".", "_")


def _variables(environment: Mapping[str, str], known: set[str] | None) -> dict[str, str]:
    """The pipeline's variables that are set; two underscores mean the same as one. An unknown name is an error."""
    found: dict[str, str] = {}
    for given, text in sorted(environment.items()):
        if not given.startswith(VARIABLE_PREFIX) or not text:
            continue
        name = given.replace("__", "_")
        if known is not None and name not in known:
            raise PemtError(f"environment variable {given} is not known; known: {', '.join(sorted(known))}")
        if found.setdefault(name, text) != text:
            raise PemtError(f"{name} is set twice, with one and with two underscores, to different values")
    return found


def _build(
    kind: type, values: dict[str, Any], source: str, variables: dict[str, str], some: bool, prefix: str = ""
) -> Any:
    hints = typing.get_type_hints(kind)
    unknown = sorted(set(values) - set(hints), key=str)
    if unknown and not some:
        raise PemtError(f"{source} has an unknown field {prefix}{unknown[0]}; known: {', '.join(hints)}")
    built = {}
    for name, hint in hints.items():
        path, value = prefix + name, values.get(name)
        if _is_section(hint):
            if not isinstance(value or {}, dict):
                raise PemtError(f"{source}: {path} is {value!r}; it needs fields of its own")
            built[name] = _build(hint, value or {}, source, variables, some, f"{path}.")
            continue
        variable = _variable(path)
        given, where = (variables[variable], variable) if variable in variables else (value, f"{source}: {path}")
        if given is not None:
            built[name] = _convert(given, hint, where, from_text=variable in variables)
    return kind(**built)


def _convert(value: Any, hint: Any, where: str, from_text: bool) -> Any:
    """Turns a YAML value, or the text of a variable, into a field's type; None only where the field may be empty."""
    options = [option for option in typing.get_args(hint) if option is not type(None)]
    wanted = hint if typing.get_origin(hint) is tuple or not options else options[0]
    kind = "tuple" if typing.get_origin(wanted) is tuple else wanted.__name__
    given = value
    try:
        if from_text and kind == "tuple":
            return tuple(shlex.split(value))
        if from_text and kind in ("bool", "int", "float"):
            value = parse_yaml(value, where)
        if value is None and type(None) in typing.get_args(hint):
            return None
        if kind == "tuple" and isinstance(value, list) and not any(isinstance(v, (list, dict)) for v in value):
            return tuple(map(str, value))
        if kind in ("str", "Path") and isinstance(value, (str, int, float)) and not isinstance(value, bool):
            return absolute(str(value)) if kind == "Path" else str(value)
        if kind == "float" and isinstance(value, (int, float, str)) and not isinstance(value, bool):
            return float(value)
        if isinstance(value, bool) == (kind == "bool") and isinstance(value, wanted):
            return value
    except (ValueError, TypeError, OverflowError, PemtError):
        pass
    raise PemtError(f"{where} is {given!r}; {_EXPECTED[kind]} is needed")

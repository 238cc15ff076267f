"""YAML in which 1e-4 is a number (in YAML 1.1, which PyYAML reads, it is text) and no key is given twice."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from pemt_tf.errors import PemtError

# PyYAML also raises these: for a date of month 13, `!!float [1]`, a thousand brackets, ...
_UNREADABLE = (yaml.YAMLError, ValueError, TypeError, KeyError, AttributeError, RecursionError)


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with these two differences."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        given = set()
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if key.value == "<<" or not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in given:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} is given twice", key.start_mark)
            given.add(key.value)
        return super().construct_mapping(node, deep)


_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$")
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _NUMBER, list("-+.0123456789"))


def parse_yaml(text: str, where: str) -> Any:
    """The value of a YAML text; `where` says where it is from: a file's path, or a flag as typed."""
    try:
        return yaml.load(text, _Loader)
    except _UNREADABLE as error:
        raise PemtError(f"cannot read {where}: not readable YAML: {' '.join(str(error).split())}") from None


def read_yaml(path: Path, what: str) -> dict[str, Any]:
    """The fields of a YAML file, none if it is empty; `what` is the file's name in messages: `the preset`."""
    try:
        values = parse_yaml(path.read_text(encoding="utf-8"), f"{what} {path}")
    except (OSError, UnicodeDecodeError) as error:
        raise PemtError(f"cannot read {what} {path}: {getattr(error, 'strerror', None) or error}") from None
    if values is not None and not isinstance(values, dict):
        raise PemtError(f"{path} does not hold fields with values, as in `rank: 64`")
    return values or {}

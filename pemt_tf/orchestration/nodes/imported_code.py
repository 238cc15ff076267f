"""What code a module runs, so that TFX's cache notices when it changes.

TFX takes a node's result over from an earlier run when its inputs and parameters are the same; of code it knows
nothing. So the fingerprint of a node's code is one of its parameters.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
from collections.abc import Collection
from functools import cache
from pathlib import Path

OURS = ("pemt_tf", "pipeline")


def code_fingerprint(module: str, passed_over: Collection[str] = ()) -> str:
    """SHA-256 of a module's code and of all code of ours that it imports; arguments as of `imported_code`."""
    digest = hashlib.sha256()
    for name, path in sorted(imported_code(module, passed_over).items()):
        digest.update(f"{name}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def imported_code(module: str, passed_over: Collection[str] = ()) -> dict[str, Path]:
    """A module and all of ours that it imports, directly or through others, at the top or inside functions.

    Args:
        module: full name, such as `pipeline.trainer_module`.
        passed_over: modules that are left out, together with what only they import.

    Returns:
        Full name to file; a package stands for its `__init__.py`.
    """
    found: dict[str, Path] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = _file_of(name)
        if path is None or name in found or name in passed_over:
            continue
        found[name] = path
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        waiting += [package, *_imports(path, package)]
    return found


def _imports(path: Path, package: str) -> list[str]:
    """Names that a file imports; of `from a import b` both `a` and `a.b`, which may be a module."""
    names = []
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            names += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return names


def _file_of(name: str) -> Path | None:
    top, *inner = name.split(".")
    if top not in OURS:
        return None
    path = _folder_of(top).joinpath(*inner)
    candidates = (path / "__init__.py", path.with_name(f"{path.name}.py"))
    return next((each for each in candidates if each.is_file()), None)


@cache
def _folder_of(package: str) -> Path:
    return Path(importlib.util.find_spec(package).submodule_search_locations[0])

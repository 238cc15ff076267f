"""Which code a module runs, so that TFX's cache notices when the code changes.

TFX reuses a node's result when its inputs and parameters are the same; it does not look at code. So the fingerprint of
a node's code is one of its parameters.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
from collections.abc import Collection, Iterator
from functools import cache
from pathlib import Path

import pemt_tf
from pemt_tf.errors import PemtError

_LIBRARY = "pemt_tf"
# Names of the public interface are loaded when they are first used.
_LAZY = {f"{_LIBRARY}.{name}": f"{_LIBRARY}.{module}" for name, module in pemt_tf.ROOMS.items()}


def code_fingerprint(module: str, passed_over: Collection[str] = (), files: Collection[Path] = ()) -> str:
    """SHA-256 of a module's code and of the code that it imports from its own package and from pemt_tf.

    `passed_over` modules are left out, together with what only they import; `files` are others, such as C++ source.
    """
    digest = hashlib.sha256()
    for name, path in sorted(imported_code(module, passed_over).items()):
        digest.update(f"{name}\n".encode() + path.read_bytes())
    for path in files:
        digest.update(f"{path.name}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def imported_code(module: str, passed_over: Collection[str] = ()) -> dict[str, Path]:
    """Full name to file of a module and of all that it imports from its own package and from pemt_tf.

    Imports inside functions count too. A package stands for its `__init__.py`.
    """
    packages = {_LIBRARY, module.partition(".")[0]}
    found: dict[str, Path] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        name = _LAZY.get(name, name)
        path = _file_of(name) if name.partition(".")[0] in packages else None
        if path is None or name in found or name in passed_over:
            continue
        found[name] = path
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        waiting += [package, *_imports(path, package)]
    return found


def _imports(path: Path, package: str) -> list[str]:
    """Names that a file imports; for `from a import b` both `a` and `a.b`, which may be a module."""
    names = []
    for node in _code_that_runs(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == _LIBRARY:
            names.append(f"{_LIBRARY}.{node.attr}")
        elif isinstance(node, ast.ImportFrom):
            base = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            names += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return names


def _code_that_runs(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes, but for the bodies of `if TYPE_CHECKING`, which only type checkers read."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            waiting += node.orelse
            continue
        yield node
        waiting += ast.iter_child_nodes(node)


def _file_of(name: str) -> Path | None:
    top, *inner = name.split(".")
    path = _folder_of(top).joinpath(*inner)
    candidates = (path / "__init__.py", path.with_name(f"{path.name}.py"))
    return next((each for each in candidates if each.is_file()), None)


@cache
def _folder_of(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise PemtError(f"package {package} cannot be imported; start the pipeline by its runner's file")
    return Path(spec.submodule_search_locations[0])

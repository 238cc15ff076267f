"""The API reference: every public name says what it is, and `make docs` builds without a warning."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("pemt_tf", "beam_jobs", "pipeline")
# What Keras and Beam call has its description there, and inherits it.
INHERITED = {
    *("build", "call", "compute_mask", "compute_output_shape", "get_config"),
    *("setup", "start_bundle", "process", "finish_bundle", "teardown"),
    *("load_model", "get_num_bytes", "get_metrics_namespace"),
}


def undescribed(tree: ast.AST, where: str) -> Iterator[str]:
    """Public modules (but for empty ones), classes, functions and methods without a docstring."""
    if isinstance(tree, ast.Module) and tree.body and not ast.get_docstring(tree):
        yield where
    inherits = isinstance(tree, ast.ClassDef) and bool(tree.bases)
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            name = f"{where}.{node.name}"
            if not ast.get_docstring(node) and not (inherits and node.name in INHERITED):
                yield name
            if isinstance(node, ast.ClassDef):
                yield from undescribed(node, name)


@pytest.mark.parametrize("package", PACKAGES)
def test_public_names_say_what_they_are(package):
    found, seen = [], 0
    for path in sorted((ROOT / package).rglob("*.py")):
        seen += 1
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found += undescribed(tree, ".".join(path.relative_to(ROOT).with_suffix("").parts))
    assert seen > 5
    assert not found, found


def test_a_name_without_a_description_is_noticed():
    methods = "def call(self): ...\n    def other(self): ...\n    def _own(self): ..."
    code = f'"""M."""\nclass A(B):\n    """A."""\n    {methods}\ndef f(): ...\n'
    assert list(undescribed(ast.parse(code), "m")) == ["m.A.other", "m.f"]
    assert list(undescribed(ast.parse("class A:\n    def call(self): ..."), "m")) == ["m", "m.A", "m.A.call"]


@pytest.mark.slow
def test_reference_is_built_without_warnings(tmp_path):
    """The command of `make docs`, into another folder and without the pipeline, whose import alone takes a minute."""
    (line,) = re.findall(r"^\t(.*\$\(BIN_TFX\)/pdoc .*)$", (ROOT / "Makefile").read_text(), re.M)
    settings, _, arguments = line.partition("$(BIN_TFX)/pdoc ")
    words = arguments.replace("out/api", str(tmp_path)).split()
    assert tuple(words[-3:]) == PACKAGES
    environment = {**os.environ, **dict(word.split("=") for word in settings.split())}
    done = subprocess.run(
        [sys.executable, "-m", "pdoc", *words[:-1]], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert not re.findall(r"^Warn.*", done.stderr, re.M), done.stderr
    layer = (tmp_path / "pemt_tf" / "layers" / "low_rank_shared_dense.html").read_text(encoding="utf-8")
    assert "LowRankSharedDense" in layer and "<h6" in layer, "Google's sections became headings"
    for name in ("pemt_tf/export/client.html", "beam_jobs/preprocess.html", "index.html"):
        assert (tmp_path / name).is_file(), name

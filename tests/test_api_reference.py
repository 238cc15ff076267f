"""The documentation site: every public name says what it is, and `make docs` builds without a warning."""

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
MODELS = "api/models.html"
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
    # `pemt_tf.commands` says once what `add` does in each of its modules.
    found = [name for name in found if not re.fullmatch(r"pemt_tf\.commands\.\w+\.add", name)]
    assert not found, found


def test_a_name_without_a_description_is_noticed():
    methods = "def call(self): ...\n    def other(self): ...\n    def _own(self): ..."
    code = f'"""M."""\nclass A(B):\n    """A."""\n    {methods}\ndef f(): ...\n'
    assert list(undescribed(ast.parse(code), "m")) == ["m.A.other", "m.f"]
    assert list(undescribed(ast.parse("class A:\n    def call(self): ..."), "m")) == ["m", "m.A", "m.A.call"]


def test_site_is_built_without_warnings(tmp_path):
    """The command of `make docs`, into another folder."""
    (line,) = re.findall(r"^\tNO_MKDOCS_2_WARNING=1 \$\(BIN\)/mkdocs (.*)$", (ROOT / "Makefile").read_text(), re.M)
    command = [sys.executable, "-m", "mkdocs", *line.split(), "--site-dir", str(tmp_path)]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True
    )
    assert done.returncode == 0 and not done.stderr, done.stderr

    def page(name: str) -> str:
        return (tmp_path / name).read_text(encoding="utf-8")

    assert re.search(r'id="pemt_tf\.layers\.low_rank_shared_dense\.LowRankSharedDense".*Parameters', page(MODELS), re.S)
    for name in ("pemt pretrain", "python -m beam_jobs.preprocess"):
        assert f">{name}<" in page("api/commands.html"), name
    assert 'href="project/BUILD.html"' in page("faq.html"), "a link that leaves docs/"
    assert "<img" in page("architecture.html") and 'href="data_format.html#failures"' in page("faq.html")


def test_every_page_has_a_place_on_the_site():
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert pages <= set(re.findall(r"[\w/]+\.md$", text, re.M))

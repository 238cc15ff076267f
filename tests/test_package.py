"""The package as pyproject.toml describes it: one version, and a wheel with every file."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from email import message_from_string
from importlib import metadata

import pytest

import pemt_tf
from tests.fresh_environment import ROOT, build_wheel, needs_uv

# Where each folder is in the wheel: `pipeline` would clash with the packages of others.
PACKAGES = {"pemt_tf": "pemt_tf", "beam_jobs": "beam_jobs", "pipeline": "pemt_tf/orchestration/template"}


def test_there_is_one_version():
    (version,) = re.findall(r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.M)
    assert pemt_tf.__version__ == metadata.version("pemt-tf") == version


def test_source_that_is_not_installed_says_so(tmp_path):
    (tmp_path / "pemt_tf").mkdir()
    shutil.copy(ROOT / "pemt_tf" / "__init__.py", tmp_path / "pemt_tf")
    code = "import sys; sys.path.insert(0, sys.argv[1]); import pemt_tf; print(pemt_tf.__version__)"
    done = subprocess.run([sys.executable, "-ISc", code, tmp_path], capture_output=True, text=True, check=True)
    assert done.stdout == "0+unknown\n"


def test_python_m_starts_the_command_whatever_pemt_is_on_the_path(tmp_path):
    (tmp_path / "pemt").write_text("#!/bin/sh\nexit 3\n")
    (tmp_path / "pemt").chmod(0o755)
    command = [sys.executable, "-m", "pemt_tf", "params", "--preset", "huge"]
    done = subprocess.run(command, env={**os.environ, "PATH": str(tmp_path)}, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith("error: ") and "avbert_base" in done.stderr


@pytest.mark.slow
@needs_uv
def test_wheel_has_every_file(tmp_path):
    with zipfile.ZipFile(build_wheel(tmp_path)) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        (entry_points,) = (archive.read(name).decode() for name in archive.namelist() if "entry_points" in name)
    files = {
        f"{place}/{path.relative_to(ROOT / folder).as_posix()}"
        for folder, place in PACKAGES.items()
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert names == files
    assert {"pemt_tf/py.typed", "beam_jobs/py.typed"} <= names
    assert re.findall(r"^(\w+) = ", entry_points, re.M) == ["pemt", "tfx"]


@pytest.mark.slow
@needs_uv
def test_the_page_of_a_package_index_renders_and_has_no_link_to_a_file(tmp_path):
    markdown = pytest.importorskip("markdown")
    with zipfile.ZipFile(build_wheel(tmp_path)) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        described = message_from_string(archive.read(name).decode())
    assert described["Description-Content-Type"] == "text/markdown"
    text = described.get_payload()
    page = markdown.markdown(text, extensions=["fenced_code", "tables"])
    targets = re.findall(r"(?:href|src)=\"(.*?)\"", page)
    assert [target for target in targets if not re.match(r"https?://", target)] == []
    assert "](" not in re.sub(r"\]\(https?://", "", text) and "<img" not in page
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for kind in ("^## .*", "^```", "^\\| .*? \\|"):  # headings, code and rows of tables are all there
        assert len(re.findall(kind, text, re.M)) == len(re.findall(kind, readme, re.M)) > 5, kind
    assert "The **tutorial** goes through every step" in text

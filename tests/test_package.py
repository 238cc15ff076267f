"""The package as pyproject.toml describes it: one version, and a wheel with every file."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

import pemt_tf

ROOT = Path(__file__).resolve().parents[1]
UV = ROOT / ".venv-tools" / "bin" / "uv"
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
@pytest.mark.skipif(not UV.exists(), reason="no .venv-tools/bin/uv; `make setup` brings it")
def test_wheel_has_every_file(tmp_path):
    subprocess.run([UV, "build", "--quiet", "--out-dir", tmp_path, ROOT], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
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

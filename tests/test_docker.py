"""docker/Dockerfile: what can be checked of it without Docker. `ci/image` runs its steps."""

from __future__ import annotations

import fnmatch
import json
import os
import re
from pathlib import Path

import pytest
from setuptools import find_packages

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "docker" / "Dockerfile").read_text(encoding="utf-8")
STAGES = {stage.split("\n")[0].split()[-1]: stage for stage in re.split(r"^FROM ", TEXT, flags=re.M)[1:]}
IGNORED = (ROOT / "docker" / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()


def _beam(lock: str) -> str:
    return re.search(r"^apache-beam==(\S+)", (ROOT / "requirements" / lock).read_text(), re.M).group(1)


def test_both_images_have_one_python_and_the_locked_beam():
    assert re.findall(r"^ARG (PYTHON|BEAM)=(\S+)$", TEXT, re.M) == [("PYTHON", "3.13"), ("BEAM", _beam("current.lock"))]
    assert f"PYTHON=3.10 --build-arg LOCK=legacy.lock --build-arg BEAM={_beam('legacy.lock')}" in TEXT
    assert STAGES["worker"].startswith("apache/beam_python${PYTHON}_sdk:${BEAM} ")
    for name in ("wheel", "environment", "pemt"):
        assert STAGES[name].startswith("python:${PYTHON}-slim-trixie "), name


@pytest.mark.parametrize("lock", ["current.lock", "legacy.lock"])
def test_what_is_copied_is_there_and_not_ignored(lock):
    for words in re.findall(r"^COPY (?!--from)(.*) \S+$", TEXT, re.M):
        for name in words.replace("${LOCK}", lock).split():
            assert (ROOT / name).exists(), name
            assert any(fnmatch.fnmatch(name, line[1:]) for line in IGNORED if line.startswith("!")), name
    assert "*" in IGNORED and "**/__pycache__" in IGNORED


def test_stages_take_from_earlier_ones_what_these_make():
    names = list(STAGES)
    for name, stage in STAGES.items():
        for source, path in re.findall(r"^COPY --from=(\S+) (\S+) ", stage, re.M):
            assert names.index(source) < names.index(name)
            assert path in STAGES[source], (name, path)


def test_wheel_has_every_folder_that_becomes_a_package():
    """setup.py names packages by folder; a folder that is not copied would break the build of the image."""
    copied = set(re.findall(r"^COPY (\w+) \1$", STAGES["wheel"], re.M))
    packages = {name.partition(".")[0] for name in find_packages(str(ROOT), include=["pemt_tf*", "beam_jobs*"])}
    named = set(re.findall(r'package_dir=\{"[\w.]+": "(\w+)"', (ROOT / "setup.py").read_text()))
    assert packages | named == copied


def test_image_for_people_runs_the_command_as_somebody_without_rights():
    stage = STAGES["pemt"]
    assert json.loads(re.search(r"^ENTRYPOINT (.*)$", stage, re.M).group(1)) == ["pemt"]
    assert re.search(r"^USER (\d+)$", stage, re.M).group(1) != "0"
    assert stage.index("USER") < stage.index("ENTRYPOINT") and "WORKDIR /work" in stage


def test_extras_are_those_of_the_project():
    _, _, after = (ROOT / "pyproject.toml").read_text().partition("[project.optional-dependencies]")
    extras = re.findall(r"^(\w+) = \[", after.partition("\n[")[0], re.M)
    assert set(re.search(r"^ARG EXTRAS=(\S+)$", TEXT, re.M).group(1).split(",")) <= set(extras)


def test_script_that_runs_the_steps_knows_every_instruction():
    instructions = set(re.findall(r"^([A-Z]+) ", TEXT, re.M))
    script = (ROOT / "ci" / "image").read_text(encoding="utf-8")
    assert instructions <= set(re.findall(r'"([A-Z]+)"', script)), instructions
    assert os.access(ROOT / "ci" / "image", os.X_OK)

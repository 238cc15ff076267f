"""Environments made anew, as a user makes them: an interpreter and the wheel, away from the checkout."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
UV = ROOT / ".venv-tools" / "bin" / "uv"
# What the tests' own environment tells its programs.
OWN_VARIABLES = ("PYTHON", "VIRTUAL_ENV", "COV", "PEMT_", "TF_", "KERAS_")

needs_uv = pytest.mark.skipif(not UV.exists(), reason="no .venv-tools/bin/uv; `make setup` brings it")


def load_set_up():
    """requirements/set_up.py as a module."""
    spec = importlib.util.spec_from_file_location("set_up", ROOT / "requirements" / "set_up.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SET_UP = load_set_up()


def pythons() -> dict[tuple[int, int], str]:
    """The supported interpreters of this machine, oldest first: version to path."""
    versions = sorted(version for stack in SET_UP.PYTHONS.values() for version in stack)
    found = {version: SET_UP.find(version) for version in versions}
    running = getattr(sys, "_base_executable", sys.executable)
    return {version: path for version, path in {**found, sys.version_info[:2]: running}.items() if path}


def build_wheel(folder: Path) -> Path:
    """The wheel, as `make wheel` builds it."""
    subprocess.run([UV, "build", "--quiet", "--out-dir", folder, ROOT], check=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


class FreshEnvironment:
    """A virtual environment, and a folder to work in.

    Args:
        folder: where both go.
        version: of Python, one of `pythons()`.
        wheel: ours.
    """

    def __init__(self, folder: Path, version: tuple[int, int], wheel: Path):
        self.work = folder / "work"
        self.work.mkdir(parents=True)
        self.bin = folder / "environment" / "bin"
        self._lock = ROOT / "requirements" / f"{SET_UP.stack_of(version)}.lock"
        self._wheel = wheel
        subprocess.run([UV, "venv", "--quiet", "--seed", "--python", pythons()[version], self.bin.parent], check=True)

    def install(self, *requirements: str) -> None:
        """Installs packages in the versions of the lock; `pemt-tf[extra]` is our wheel."""
        named = [text + f" @ {self._wheel.as_uri()}" if text.startswith("pemt-tf") else text for text in requirements]
        pip = [UV, "pip", "install", "--quiet", "--python", self.bin / "python", "--constraint", self._lock]
        subprocess.run([*pip, *named], check=True)

    def run(self, *command: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Runs a command as in a shell where the environment is activated; its exit code must be `code`."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(OWN_VARIABLES)}
        path = os.pathsep.join([str(self.bin), "/usr/bin", "/bin"])
        program = shutil.which(str(command[0]), path=path)
        assert program, f"{command[0]} is not installed"
        done = subprocess.run(
            [program, *command[1:]],
            env={**kept, "PATH": path},
            cwd=self.work,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == code, (command, done.stdout, done.stderr)
        return done


@contextlib.contextmanager
def fresh_environment(folder: Path, version: tuple[int, int], wheel: Path) -> Iterator[FreshEnvironment]:
    """A `FreshEnvironment` that is removed at the end: it has gigabytes."""
    try:
        yield FreshEnvironment(folder, version, wheel)
    finally:
        shutil.rmtree(folder / "environment", ignore_errors=True)

"""requirements/set_up.py: which interpreter, which stack, with or without TFX, on machines of other kinds."""

from __future__ import annotations

import ast
import importlib.util
import platform
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "requirements" / "set_up.py"


@pytest.fixture
def set_up():
    """A fresh copy of the script as a module."""
    spec = importlib.util.spec_from_file_location("set_up", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def machine(set_up, monkeypatch, tmp_path):
    """Makes the script believe that it is on another machine."""

    def make(glibc: str, running: str, others: tuple[str, ...] = (), compiler: bool = True, headers: bool = True):
        pythons = {f"/usr/bin/python{version}": version for version in others} | {"/usr/bin/python3": running}
        versions = {path: tuple(map(int, version.split("."))) for path, version in pythons.items()}
        programs = {Path(path).name: path for path in pythons} | ({"c++": "/usr/bin/c++"} if compiler else {})
        monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
        monkeypatch.setattr(set_up.sys, "_base_executable", "/usr/bin/python3", raising=False)
        monkeypatch.setattr(platform, "libc_ver", lambda: ("glibc", glibc))
        monkeypatch.setattr(set_up.shutil, "which", programs.get)
        monkeypatch.setattr(set_up, "probe", lambda path: (versions.get(path), headers and path in versions))
        return set_up

    return make


@pytest.mark.parametrize(
    ("glibc", "running", "others", "plans"),
    [
        ("2.41", "3.13", (), [(".venv", "/usr/bin/python3", "current", "tfx")]),  # Debian 13
        ("2.39", "3.12", ("3.10",), [(".venv", "/usr/bin/python3", "current", "tfx")]),  # Ubuntu 24.04
        (
            "2.36",  # Debian 12 with a Python 3.10 beside its own
            "3.11",
            ("3.10",),
            [
                (".venv", "/usr/bin/python3", "current", "full"),
                (".venv-tfx", "/usr/bin/python3.10", "legacy", "tfx"),
            ],
        ),
        ("2.36", "3.11", (), [(".venv", "/usr/bin/python3", "current", "full")]),  # Debian 12 as it comes
        ("2.41", "3.9", ("3.11", "3.12"), [(".venv", "/usr/bin/python3.12", "current", "tfx")]),
        ("2.35", "3.10", ("3.10",), [(".venv", "/usr/bin/python3.10", "legacy", "tfx")]),  # Ubuntu 22.04
        ("2.41", "3.14", (), [(".venv", "3.13", "current", "tfx")]),  # uv brings one
    ],
)
def test_what_goes_on_this_machine_is_made(machine, capsys, glibc, running, others, plans):
    made = machine(glibc, running, others).plan("full", "")

    assert [(venv.name, *rest) for venv, *rest in made] == plans
    said = capsys.readouterr().err.splitlines()
    assert [line.partition(":")[0] for line in said if not line.startswith("TFX")] == [plan[0] for plan in plans]
    assert sum(line.startswith("TFX is left out") for line in said) == (plans[-1][-1] != "tfx")


@pytest.mark.parametrize(
    ("glibc", "lacks", "says"),
    [
        ("2.41", {"compiler": False}, r"it needs a C\+\+ compiler \(apt-get install g\+\+\)$"),
        ("2.41", {"headers": False}, r"it needs the Python.h of /usr/bin/python3 \(apt-get install python3-dev\)$"),
        ("2.36", {}, r"TFX 1.21 needs glibc 2.39 .* and here is 2.36; TFX 1.16 would need a python3.10 on PATH$"),
        # A compiler alone would not help there, so it is not asked for.
        ("2.36", {"compiler": False}, r": TFX 1.21 needs glibc 2.39 .*; TFX 1.16 would need a python3.10 on PATH$"),
    ],
)
def test_tfx_is_left_out_with_one_line_that_says_why(machine, capsys, glibc, lacks, says):
    made = machine(glibc, "3.11", **lacks).plan("full", "")

    assert [plan[-1] for plan in made] == ["full"]
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("TFX is left out: ")]
    assert re.search(says, line)


def test_the_core_needs_no_compiler_and_says_one_line(machine, capsys):
    made = machine("2.36", "3.11", ("3.10",), compiler=False, headers=False).plan("core", "")

    assert [plan[-1] for plan in made] == ["core"]
    assert capsys.readouterr().err == ".venv: current stack, Python 3.11 (/usr/bin/python3)\n"


@pytest.mark.parametrize(
    ("wanted", "says"),
    [("/usr/bin/python3.9", "is Python 3.9; name one of 3.10 to 3.13"), ("/nowhere", "no Python that starts")],
)
def test_an_interpreter_that_does_not_do_is_refused(machine, wanted, says):
    with pytest.raises(SystemExit, match=says):
        machine("2.41", "3.13", ("3.9",)).plan("core", wanted)


def test_an_environment_is_made_anew_when_the_choice_changes_and_only_then(set_up, tmp_path, monkeypatch):
    calls = []

    def run_uv(arguments, problem):
        calls.append(arguments[:2])
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "bin" / "python").touch()

    monkeypatch.setattr(set_up, "run_uv", run_uv)

    def made(python: str, what: str) -> list[list[str]]:
        calls.clear()
        set_up.make(tmp_path, python, "current", what)
        return [call[0] for call in calls]

    assert made("/usr/bin/python3", "core") == ["venv", "pip"]
    assert made("/usr/bin/python3", "core") == []
    assert made("/usr/bin/python3", "full") == ["pip"]
    assert made("/usr/bin/python3", "core") == []  # it is part of what is there
    assert made("/usr/bin/python3.12", "core") == ["venv", "pip"]


def test_this_interpreter_is_recognized(set_up):
    assert set_up.probe(sys.executable)[0] == sys.version_info[:2]
    assert set_up.probe("/bin/true") == (None, False)
    assert set_up.probe("/nowhere") == (None, False)


def test_an_older_python_can_run_the_script():
    ast.parse(SCRIPT.read_text(encoding="utf-8"), feature_version=(3, 8))


@pytest.mark.parametrize("stack", ["current", "legacy"])
def test_every_range_of_the_package_holds_in_the_locks(stack):
    from packaging.requirements import Requirement

    lines = (ROOT / "requirements" / f"{stack}.lock").read_text(encoding="utf-8").splitlines()
    locked = {one.name.lower(): one.specifier for one in map(Requirement, lines)}
    core = ast.literal_eval(
        re.search(r"^dependencies = (\[.*?^\])", (ROOT / "pyproject.toml").read_text(), re.M | re.S)[1]
    )
    assert len(core) > 10
    for needed in map(Requirement, core):
        (version,) = [each.version for each in locked[needed.name.lower()]]
        assert needed.specifier.contains(version), needed

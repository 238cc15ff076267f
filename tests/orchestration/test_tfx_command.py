"""The console script `tfx`, as far as it needs no run of a pipeline."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pemt_tf.orchestration.running import tfx_command

REPOSITORY = Path(__file__).resolve().parents[2]
needs_tfx = pytest.mark.skipif(importlib.util.find_spec("tfx") is None, reason="the tfx extra is not installed")


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    """Runs the command in a process of its own, from another folder than the repository's."""
    return subprocess.run(
        [sys.executable, "-m", "pemt_tf.orchestration.running.tfx_command", *arguments],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), **environment},
        cwd="/",
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_without_tfx_it_says_how_to_install_it(monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)

    assert tfx_command.main() == 2
    assert capsys.readouterr().err == (
        "error: TFX is not installed; install the extra with `pip install 'pemt-tf[tfx]'`\n"
    )


@needs_tfx
@pytest.mark.tfx
def test_help_names_the_groups_of_tfx():
    done = run("--help")

    assert done.returncode == 0 and done.stderr == ""
    assert all(f"\n  {group} " in done.stdout for group in ("pipeline", "run", "template"))


@needs_tfx
@pytest.mark.tfx
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--pipeline-path", "/nowhere/runner.py"], "error: no pipeline file at /nowhere/runner.py"),
        ([], "either --pipeline-path or --pipeline-name"),
        (["--pipeline-path", __file__, "--engine", "vertex"], "with vertex use `pipeline create` and `run create`"),
    ],
)
def test_a_run_that_cannot_start_says_why(arguments, says):
    done = run("pipeline", "run", *arguments)

    assert done.returncode == 2 and says in done.stderr and "Traceback" not in done.stderr


@needs_tfx
@pytest.mark.tfx
def test_the_status_of_a_pipeline_that_never_ran_is_an_error(tmp_path):
    done = run("pipeline", "run", "--status", PEMT_PIPELINE_ROOT=str(tmp_path), PEMT_PIPELINE_NAME="birds")

    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr == f"error: pipeline 'birds' has not run yet: there is no {tmp_path}/metadata.sqlite\n"
    assert not list(tmp_path.iterdir())


@needs_tfx
@pytest.mark.tfx
def test_pemt_pipeline_run_is_the_same_command_whichever_tfx_is_installed(tmp_path):
    command = [sys.executable, "-m", "pemt_tf.cli", "pipeline", "run", "--status"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PEMT_PIPELINE_ROOT": str(tmp_path)}
    done = subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True, timeout=300)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: pipeline 'pemt' has not run yet: there is no {tmp_path}/metadata.sqlite\n"


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({}, "error: the pipeline has no data: set PEMT_PIPELINE_DATA"),
        ({"PEMT_PIPELINE_DATA": "/nowhere"}, "error: /nowhere is not a finished data set"),
        ({"PEMT_PIPELINE_DATA": "/nowhere", "PEMT_PIPELINE_CACHE": "?"}, "error: PEMT_PIPELINE_CACHE is '?'"),
    ],
)
def test_the_runner_says_in_one_line_what_is_missing(environment, says, tmp_path):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PEMT_PIPELINE_")}
    done = subprocess.run(
        [sys.executable, str(REPOSITORY / "pipeline" / "local_runner.py")],
        env={**clean, "PEMT_PIPELINE_ROOT": str(tmp_path / "root"), **environment},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == 2
    assert done.stderr.startswith(says) and done.stderr.count("\n") == 1
    assert not (tmp_path / "root").exists()


@needs_tfx
@pytest.mark.tfx
def test_the_first_line_comes_before_tfx_is_loaded(tmp_path):
    """TFX takes half a minute to load; a module of that name in its place tells whether it was asked for yet."""
    (tmp_path / "tfx").mkdir()
    (tmp_path / "tfx" / "__init__.py").write_text("import sys; sys.exit('TFX is being loaded')")

    done = run("pipeline", "run", "--pipeline-path", __file__, PYTHONPATH=f"{tmp_path}{os.pathsep}{REPOSITORY}")

    assert done.stderr.splitlines() == ["loading TFX, which takes up to half a minute", "TFX is being loaded"]


@needs_tfx
@pytest.mark.tfx
def test_tfx_finds_pip_where_the_environment_is_not_activated():
    done = run("pipeline", "list", "--engine", "local", PATH="/nowhere")

    assert "No such file or directory: 'pip'" not in done.stderr and done.returncode == 0, done.stderr

"""`pemt pipeline init`: the template in a checkout, in a wheel and in a project."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from pemt_tf import cli
from pemt_tf.orchestration import template_copy

REPOSITORY = Path(__file__).resolve().parents[2]
FILES = {
    "__init__.py", "config.yaml", "configs.py", "evaluation.py", "kubeflow_runner.py", "local_runner.py",
    "pipeline.py", "schema/schema.pbtxt", "trainer_module.py",
}  # fmt: skip


def files_below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_project_gets_every_file_and_is_told_how_to_go_on(tmp_path, capsys):
    assert cli.main(["pipeline", "init", str(tmp_path / "project")]) == 0

    said = capsys.readouterr().out
    assert files_below(tmp_path / "project") == {f"pipeline/{name}" for name in FILES}
    assert (tmp_path / "project/pipeline/config.yaml").read_bytes() == (
        REPOSITORY / "pipeline/config.yaml"
    ).read_bytes()
    assert f"cd {tmp_path / 'project'}" in said and "--pipeline-path pipeline/local_runner.py" in said


@pytest.mark.parametrize(
    ("module", "command"),
    [("pemt_tf.orchestration.running.tfx_command", "tfx"), ("tfx.tools.cli.cli_main", "pemt")],
)
def test_a_project_is_told_the_command_that_works_here(tmp_path, capsys, monkeypatch, module, command):
    """TFX's own `tfx` has no `pipeline run`."""
    (tmp_path / "tfx").write_text(f"#!/usr/bin/python3\nfrom {module} import main\nmain()\n")
    (tmp_path / "tfx").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    assert cli.main(["pipeline", "init", str(tmp_path / "project")]) == 0

    assert f"PEMT_PIPELINE_DATA=data {command} pipeline run --pipeline-path" in capsys.readouterr().out


def test_a_pipeline_that_is_there_is_left_as_it_is(tmp_path, capsys):
    (tmp_path / "pipeline").mkdir()

    assert cli.main(["pipeline", "init", str(tmp_path)]) == 2

    assert capsys.readouterr().err == (
        f"error: {tmp_path / 'pipeline'} exists and is left as it is; name another folder, or move it away\n"
    )
    assert not list((tmp_path / "pipeline").iterdir())


def test_the_runner_of_a_copy_takes_the_copy(tmp_path):
    """Not the package `pipeline` of the repository, although that is on the path as well."""
    template_copy.copy_template(tmp_path)
    config = tmp_path / "pipeline" / "config.yaml"
    config.write_text(config.read_text().replace("data:  #", "data: /nowhere/of-the-copy  #"))
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PEMT_PIPELINE_")}

    done = subprocess.run(
        [sys.executable, "pipeline/local_runner.py"],
        env={**clean, "PYTHONPATH": str(REPOSITORY)}, cwd=tmp_path, capture_output=True, text=True, timeout=60,
    )  # fmt: skip

    assert done.returncode == 2 and done.stderr.startswith("error: /nowhere/of-the-copy is not a finished data set")


def test_the_library_imports_nothing_of_the_template():
    lines = [line for path in (REPOSITORY / "pemt_tf").rglob("*.py") for line in path.read_text().splitlines()]

    assert not [line for line in lines if line.strip().startswith(("from pipeline", "import pipeline"))]


def test_the_wheel_has_the_template_and_no_package_of_its_name(tmp_path):
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    source = tmp_path / "source"
    ignored = "--exclude-standard"
    listed = subprocess.run(["git", "ls-files", "-co", ignored], cwd=REPOSITORY, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("the repository's files cannot be listed without git")
    for name in listed.stdout.splitlines():
        if name.startswith(("pemt_tf/", "beam_jobs/", "pipeline/")) or "/" not in name:
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((REPOSITORY / name).read_bytes())
    subprocess.run([*pip, "--wheel-dir", str(tmp_path), str(source)], check=True, timeout=300)

    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "site")
    assert {name.partition("/")[0] for name in names if ".dist-info" not in name} == {"pemt_tf", "beam_jobs"}
    assert files_below(tmp_path / "site/pemt_tf/orchestration/template") == FILES
    program = "from pemt_tf.cli import main; main(['pipeline', 'init', 'project'])"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=environment, check=True, timeout=60)
    assert files_below(tmp_path / "project") == {f"pipeline/{name}" for name in FILES}

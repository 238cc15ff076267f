"""`pemt doctor`: its lines, its JSON and its exit code; the probes are replaced, as importing takes long."""

from __future__ import annotations

import json

import pytest

from pemt_tf import cli
from pemt_tf.doctor import examination, machine
from pemt_tf.doctor.finding import Finding
from pemt_tf.doctor.probe import ProbeResult
from tests.test_doctor import WORKING

MEDIA = {"av": "17.1.0", "ffmpeg": "8.1", "missing": [], "clip": "", "jpeg": ""}
ANSWERS = {"pemt_tf.doctor.tensorflow_probe": ProbeResult(WORKING), "pemt_tf.doctor.media_probe": ProbeResult(MEDIA)}


@pytest.fixture
def answers(monkeypatch):
    """What the probes say; tests change it."""
    given = dict(ANSWERS)
    stopped = []

    class FakeProbe:
        def __init__(self, module):
            self.module = module

        def result(self):
            return given[self.module]

        def stop(self):
            stopped.append(self.module)

    monkeypatch.setattr(examination, "ProbeProcess", FakeProbe)
    monkeypatch.setattr(examination.devices, "machine_has_gpu", lambda: False)
    yield given
    assert sorted(stopped) == sorted(given)


def run(capsys, *arguments):
    code = cli.main(["doctor", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_healthy(capsys, tmp_path, answers):
    code, out, err = run(capsys, "--output", tmp_path)
    assert (code, err) == (0, ""), out
    lines = [line for line in out.splitlines() if line and not line.startswith(" ")]
    assert lines[-1].startswith("no problems, ")
    assert {line.split()[0] for line in lines[:-1]} <= {"ok", "warning"}
    names = [line[9:28].strip() for line in lines[:-1]]
    for name in (
        "Python",
        "packages",
        "processor",
        "memory",
        "disk of the output",
        "PyAV",
        "TensorFlow",
        "GPU",
        "Java",
    ):
        assert name in names


def test_one_problem_makes_the_exit_code_1(capsys, answers):
    answers["pemt_tf.doctor.media_probe"] = ProbeResult({}, "ImportError: no av")
    code, out, _ = run(capsys)
    assert code == 1
    place = out.splitlines().index("problem  codecs             ImportError: no av")
    assert out.splitlines()[place + 1].strip().startswith("-> pip install")
    assert "\n1 problem, " in out


def test_json(capsys, monkeypatch, answers):
    monkeypatch.setattr(machine, "check_open_files", lambda: Finding("warning", "open files", "few", "ulimit -n 4096"))
    code, out, err = run(capsys, "--json")
    assert (code, err) == (0, "")
    values = json.loads(out)
    assert values["problems"] == 0 and values["warnings"] >= 1
    assert {"status": "warning", "name": "open files", "found": "few", "fix": "ulimit -n 4096"} in values["findings"]
    assert all(set(each) == {"status", "name", "found", "fix"} for each in values["findings"])


def test_data_that_is_not_there(capsys, tmp_path, answers):
    code, out, _ = run(capsys, "--data", tmp_path / "nothing")
    assert code == 1 and str(tmp_path / "nothing") in out and "Traceback" not in out


def test_a_check_that_crashes(capsys, monkeypatch, answers):
    def crash():
        raise RuntimeError("unforeseen")

    monkeypatch.setattr(machine, "check_processor", crash)
    code, out, err = run(capsys)
    assert code == 1 and err == ""
    assert "problem  processor          the check itself failed (RuntimeError: unforeseen)" in out
    assert "TensorFlow" in out  # and the others go on


def test_help_has_an_example(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["doctor", "--help"])
    assert ended.value.code == 0
    assert "pemt doctor --data out/records" in capsys.readouterr().out

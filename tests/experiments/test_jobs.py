"""Commands that depend on each other: order, going on, failures."""

import dataclasses
import json

import pytest

from experiments.jobs import Job, run_jobs, times_of
from pemt_tf.errors import PemtError


def job(folder, name, *needs):
    arguments = [str(folder / name), *(str(folder / need) for need in needs)]
    return Job(name, "tests.experiments.touch", tuple(arguments), folder / name, needs)


def test_needs_come_first_and_what_is_done_is_not_done_again(tmp_path):
    jobs = [job(tmp_path, "a"), job(tmp_path, "b", "a"), job(tmp_path, "c", "a"), job(tmp_path, "d", "b", "c")]
    run_jobs(jobs[:2], tmp_path, workers=2)
    run_jobs(jobs, tmp_path, workers=2)
    assert {name: (tmp_path / name).read_text() for name in "abcd"} == dict.fromkeys("abcd", "once\n")
    times = times_of(jobs[3], tmp_path)
    assert times["command"] == jobs[3].command and times["seconds"] >= 0 and times["cpu_seconds"] >= 0


def test_another_command_is_another_job(tmp_path):
    first = job(tmp_path, "a")
    run_jobs([first], tmp_path, workers=1)
    run_jobs([dataclasses.replace(first, arguments=(*first.arguments, str(tmp_path)))], tmp_path, workers=1)
    assert (tmp_path / "a").read_text() == "once\nonce\n"


def test_a_failure_says_what_failed_and_what_it_said_and_starts_nothing_else(tmp_path):
    failing = Job("bad", "tests.experiments.touch", (str(tmp_path / "bad"), str(tmp_path / "gone")), tmp_path / "bad")
    with pytest.raises(PemtError, match=r"touch.*failed: bad came before gone \(all of it: .*bad\.log\)"):
        run_jobs([failing, job(tmp_path, "after", "bad")], tmp_path, workers=2)
    assert not (tmp_path / "after").exists()


@pytest.mark.parametrize(("command", "earlier"), [(None, 100.0), ("another", 0.0)])
def test_time_of_tries_that_failed_counts(tmp_path, command, earlier):
    again = dataclasses.replace(job(tmp_path, "b", "a"), needs=())
    with pytest.raises(PemtError):
        run_jobs([again], tmp_path, workers=1)
    (noted,) = (tmp_path / "times").iterdir()
    assert json.loads(noted.read_text())["command"] == again.command
    noted.write_text(json.dumps({"command": command or again.command, "seconds": 100.0, "cpu_seconds": 100.0}))
    (tmp_path / "a").touch()
    run_jobs([again], tmp_path, workers=1)
    times = times_of(again, tmp_path)
    assert earlier <= times["cpu_seconds"] < earlier + 50 and earlier <= times["seconds"] < earlier + 50
    assert not noted.exists()

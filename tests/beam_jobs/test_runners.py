"""Where the job runs: the same bytes in every local mode, and one clear line when workers or users end it."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from apache_beam.options.pipeline_options import DirectOptions, StandardOptions, WorkerOptions
from apache_beam.runners.portability.local_job_service import LocalJobServicer

from beam_jobs.engines import beam_runners
from beam_jobs.preprocess import main
from pemt_tf.errors import PemtError
from tests.beam_jobs.command import contents

PROCESSES = "--direct_running_mode=multi_processing"


@pytest.mark.parametrize(
    ("num_workers", "arguments", "mode", "workers"),
    [
        (None, [], "in_memory", 1),
        (1, [], "in_memory", 1),
        (3, [], "multi_threading", 3),
        (None, ["--direct_num_workers", "3"], "multi_threading", 3),
        (3, ["--direct_num_workers=3"], "multi_threading", 3),
        (2, [PROCESSES], "multi_processing", 2),
        (None, [PROCESSES, "--direct_num_workers=2"], "multi_processing", 2),
        (None, ["--direct_num_workers=2", "--direct_running_mode", "multi_processing"], "multi_processing", 2),
        (None, [PROCESSES], "multi_processing", 1),
    ],
)
def test_what_the_user_says_is_what_runs(num_workers, arguments, mode, workers):
    for name in ("FnApiRunner", "DirectRunner", "directrunner"):
        options = beam_runners.beam_options(name, num_workers, arguments)
        direct = options.view_as(DirectOptions)
        assert (direct.direct_running_mode, direct.direct_num_workers) == (mode, workers)
        assert options.view_as(StandardOptions).runner.endswith(".FnApiRunner")


def test_no_number_of_workers_means_all_cores():
    direct = beam_runners.beam_options("DirectRunner", None, ["--direct_num_workers=0"]).view_as(DirectOptions)
    assert direct.direct_num_workers == min(len(os.sched_getaffinity(0)), beam_runners.MOST_WORKERS)


def test_number_of_workers_of_another_runner_is_passed_on():
    options = beam_runners.beam_options("PortableRunner", 7, ["--job_endpoint=localhost:1"])
    assert options.view_as(WorkerOptions).num_workers == 7
    assert options.view_as(StandardOptions).runner == "PortableRunner"


@pytest.mark.parametrize(
    ("runner", "num_workers", "arguments", "message"),
    [
        ("DirectRunner", 2, ["--direct_num_workers=3"], "--num_workers=2 and --direct_num_workers=3 contradict"),
        ("DirectRunner", 2, ["--direct_running_mode=in_memory"], "does one shard at a time, but 2 workers"),
        ("DirectRunner", 500, [], "500 local workers; give 1 to 64"),
        ("DirectRunner", None, ["--direct_num_workers=-1"], "-1 local workers"),
        ("DirectRunner", None, ["--direct_running_mode=fast"], "Beam refuses an option: .*'fast' is not one of"),
        ("NoSuchRunner", None, [], "there is no Beam runner NoSuchRunner"),
        ("beam_jobs.NoSuchRunner", None, [], "there is no Beam runner beam_jobs.NoSuchRunner"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(runner, num_workers, arguments, message):
    with pytest.raises(PemtError, match=message) as caught:
        beam_runners.beam_options(runner, num_workers, arguments)
    assert "\n" not in str(caught.value)


def test_message_of_a_worker_is_found_in_what_a_runner_makes_of_it():
    wrapped = (
        "Pipeline job-001 failed in state FAILED: java.lang.RuntimeException: Error received from SDK harness for "
        'instruction 4: Traceback (most recent call last):\n  File "x.py", line 3, in process\n'
        "pemt_tf.errors.PemtError: cannot write train/clips: disk full [while running 'DecodeAndWrite-ptransform-4']\n"
    )
    assert beam_runners.one_line(RuntimeError(wrapped)) == "cannot write train/clips: disk full"
    assert "SIGKILL" in beam_runners.one_line(RuntimeError("Worker subprocess exited with return code 137"))
    assert "a worker process ended before" in beam_runners.one_line(RuntimeError("Channel closed prematurely."))
    assert beam_runners.one_line(ValueError("a\nb\n")) == "the Beam job failed: b"
    assert beam_runners.one_line(ValueError()) == "the Beam job failed: ValueError"


@pytest.mark.parametrize(
    "workers",
    [
        ("--num_workers", "3"),
        ("--runner", "FnApiRunner"),
        ("--runner", "FnApiRunner", "--num_workers", "3"),
        ("--num_workers", "2", PROCESSES),
    ],
)
def test_same_bytes_in_every_local_mode(corpus, made, tmp_path, workers, capfd):
    """Beam's multi-process mode has lost elements before; the job counts, and the bytes are compared here."""
    assert main(["--input", str(corpus), "--output", str(tmp_path / "out"), "--preset", "tiny", *workers]) == 0
    assert contents(tmp_path / "out") == contents(made)
    assert "Traceback" not in capfd.readouterr().err


def test_same_bytes_from_a_job_server(corpus, made, tmp_path):
    """Flink and others get the job through such a server: this one comes with Beam and is in Python."""
    server = LocalJobServicer(str(tmp_path / "staging"))
    port = server.start_grpc_server(0)
    try:
        flags = ["--runner=PortableRunner", f"--job_endpoint=localhost:{port}", "--environment_type=LOOPBACK"]
        assert main(["--input", str(corpus), "--output", str(tmp_path / "out"), "--preset", "tiny", *flags]) == 0
    finally:
        server.stop()
    assert contents(tmp_path / "out") == contents(made)


@contextlib.contextmanager
def _job(corpus, tmp_path):
    """A job with two worker processes that have just been started; yields it and the workers' numbers."""
    with (tmp_path / "log").open("w") as log:
        flags = ["--input", corpus, "--output", tmp_path / "out", "--num_workers", "2", PROCESSES]
        command = [sys.executable, "-m", "beam_jobs.preprocess", *map(str, flags)]
        job = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        while not (workers := _workers(job.pid)):
            assert job.poll() is None, (tmp_path / "log").read_text()
            time.sleep(0.02)
        yield job, workers
    finally:
        job.kill()
        job.wait()


def _workers(parent):
    found = []
    for children in Path(f"/proc/{parent}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            numbers = children.read_text().split()
            found += [
                int(n) for n in numbers if "beam_jobs.engines.beam_worker" in Path(f"/proc/{n}/cmdline").read_text()
            ]
    return found


def _said(tmp_path):
    lines = (tmp_path / "log").read_text().splitlines()
    # Beam without its Google part says so at every start.
    return [line for line in lines if not line.startswith("clips ") and "apitools not found" not in line]


def _alive(number):
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _wait_for_end(numbers):
    for _ in range(600):
        if not any(map(_alive, numbers)):
            return
        time.sleep(0.1)
    raise AssertionError(f"still there: {numbers}")


needs_proc = pytest.mark.skipif(
    not Path(f"/proc/self/task/{os.getpid()}/children").exists(), reason="needs a system that lists children in /proc"
)


@needs_proc
@pytest.mark.slow
def test_killed_worker_ends_the_job_with_one_line(corpus, tmp_path):
    with _job(corpus, tmp_path) as (job, workers):
        os.kill(workers[0], signal.SIGKILL)
        assert job.wait(120) == 2
        _wait_for_end(workers)
    said = _said(tmp_path)
    assert len(said) == 1 and said[0].startswith("error: a worker process ended by SIGKILL"), said
    assert not (tmp_path / "out").exists()


@needs_proc
@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_interrupted_or_killed_job_ends_its_workers(corpus, tmp_path, number, code):
    with _job(corpus, tmp_path) as (job, workers):
        if number == signal.SIGINT:
            os.killpg(job.pid, number)  # a terminal sends it to the whole group
        else:
            job.kill()
        assert job.wait(120) == code
        _wait_for_end(workers)
    said = _said(tmp_path)
    assert not any("Traceback" in line for line in said), said
    if number == signal.SIGINT:
        assert len(said) == 1 and said[0].startswith("interrupted"), said
    assert not (tmp_path / "out").exists()

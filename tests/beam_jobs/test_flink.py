"""The Flink command: refusals, comparison, cluster, workers; and, where Maven gets all jars, a job on Flink."""

import json
import shutil
import socket
import sys
import urllib.request
from pathlib import Path

import apache_beam
import pytest
from apache_beam.options.pipeline_options import FlinkRunnerOptions
from apache_beam.runners.portability.local_job_service import LocalJobServicer

from beam_jobs import flink, flink_cluster
from beam_jobs.preprocess import main
from pemt_tf.errors import PemtError
from tests import media
from tests.beam_jobs.command import contents

needs_java = pytest.mark.skipif(
    not (shutil.which("java") and shutil.which("mvn")), reason="needs java and mvn, which are not installed"
)


def test_flink_version_is_one_that_the_installed_beam_supports():
    assert flink.FLINK in FlinkRunnerOptions.PUBLISHED_FLINK_VERSIONS
    assert flink.FLINK_RELEASE.startswith(f"{flink.FLINK}.")
    assert flink.job_server_artifact(apache_beam.__version__).endswith(f"job-server:{apache_beam.__version__}")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "flags follow --"),
        (["--", "--input", "x"], "flags follow --"),
        (["--", "--input", "x", "--output", "y", "--runner=FlinkRunner"], "leave --runner out"),
        (["--", "--input", "x", "--output", "gs://bucket/y"], "must be a local folder"),
        (["--parallelism", "0", "--", "--input", "x", "--output", "y"], "--parallelism=0 is not above 0"),
        (["--job_server_jar", "/no/such.jar", "--", "--input", "x", "--output", "y"], "no such file: /no/such.jar"),
        (["--keep", "/", "--", "--input", "x", "--output", "y"], "is there already"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(arguments, message, capsys, monkeypatch):
    monkeypatch.setattr(flink_cluster.shutil, "which", lambda name: f"/usr/bin/{name}")
    assert flink.main(arguments) == 2
    said = capsys.readouterr().err
    assert message in said and said.startswith("error: ") and said.count("\n") == 1


def test_missing_programs_are_named(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert flink.main(["--", "--input", "x", "--output", "y"]) == 2
    assert "java was not found" in capsys.readouterr().err
    with pytest.raises(PemtError, match="mvn was not found"):
        flink_cluster.fetch(("a:b:1",))


def test_what_maven_says_is_told_in_one_line(tmp_path, monkeypatch):
    program = tmp_path / "mvn"
    program.write_text(
        f"#!{sys.executable}\n"
        "print('[ERROR] Failed to execute goal x: Could not find artifact a:b:jar:1 in central -> [Help 1]')\n"
        "raise SystemExit(1)\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PemtError, match=r"^Maven cannot get a:b:1: find artifact a:b:jar:1 in central$"):
        flink_cluster.fetch(("a:b:1",))


def test_comparison_finds_what_differs_and_what_is_missing(tmp_path, capsys):
    for root, files in (("local", {"a": b"1", "b": b"2", "c": b"3"}), ("flink", {"a": b"1", "b": b"x", "d": b"4"})):
        for name, data in files.items():
            (tmp_path / root / "train").mkdir(parents=True, exist_ok=True)
            (tmp_path / root / "train" / f"{name}.tfrecord").write_bytes(data)
    digests = flink.compare(tmp_path / "local", tmp_path / "flink")
    one = "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"  # sha256sum of "1"
    assert digests[0] == ("train/a.tfrecord", one, one)
    assert [(local == there, "missing" in (local, there)) for _, local, there in digests] == [
        (True, False),
        (False, False),
        (False, True),
        (False, True),
    ]
    assert flink.report(digests) == 1 and "1 of 4 record files are byte-identical" in capsys.readouterr().out
    assert flink.report(digests[:1]) == 0
    assert flink.report([]) == 1  # nothing compared is not success


def test_workers_are_as_many_as_slots():
    flags = flink.flink_flags("http://localhost:1", "x.jar", 5, 3)
    assert {"--parallelism=3", "--sdk_worker_parallelism=3", "--environment_config=localhost:5"} <= set(flags)


def test_pool_of_workers_comes_up_and_goes(tmp_path):
    with flink.worker_pool(tmp_path) as port:
        socket.create_connection(("localhost", port), timeout=5).close()
    with pytest.raises(OSError):
        socket.create_connection(("localhost", port), timeout=5)


def test_workers_of_the_pool_make_the_same_bytes(corpus, made, tmp_path):
    """All but Flink itself: a job server, and Python workers in processes that the pool starts."""
    server = LocalJobServicer(str(tmp_path / "staging"))
    endpoint = server.start_grpc_server(0)
    try:
        with flink.worker_pool(tmp_path) as port:
            flags = ["--runner=PortableRunner", f"--job_endpoint=localhost:{endpoint}"]
            flags += ["--environment_type=EXTERNAL", f"--environment_config=localhost:{port}"]
            assert main(["--input", str(corpus), "--output", str(tmp_path / "out"), "--preset", "tiny", *flags]) == 0
    finally:
        server.stop()
    assert contents(tmp_path / "out") == contents(made)
    assert "Starting worker" in (tmp_path / "workers.log").read_text()


@needs_java
@pytest.mark.slow
def test_cluster_of_two_task_slots_comes_up(tmp_path):
    _fetch_or_skip(flink_cluster.CLUSTER_JARS)
    with flink_cluster.local_cluster(2, tmp_path) as address:
        with urllib.request.urlopen(f"{address}/overview", timeout=30) as page:
            overview = json.load(page)
        assert (overview["taskmanagers"], overview["slots-available"]) == (1, 2)
        assert overview["flink-version"] == flink.FLINK_RELEASE
    with pytest.raises(OSError):
        urllib.request.urlopen(f"{address}/overview", timeout=5)


@needs_java
@pytest.mark.slow
def test_records_made_on_flink_are_those_made_locally(tmp_path, capfd):
    _fetch_or_skip(flink_cluster.CLUSTER_JARS)
    _fetch_or_skip((flink.job_server_artifact(apache_beam.__version__),), with_dependencies=False)
    for number in range(6):
        media.write_video(tmp_path / "in" / "ab"[number % 2] / f"{number}.mp4", seconds=1)
    job = ["--input", str(tmp_path / "in"), "--output", str(tmp_path / "out"), "--shards_per_split", "3"]
    assert flink.main(["--keep", str(tmp_path / "kept"), "--", *job]) == 0
    said = capfd.readouterr().out
    assert "DIFFERENT" not in said and "2 task slots" in said
    records = list(Path(tmp_path, "out").glob("*/*.tfrecord"))
    assert records and all(
        path.read_bytes() == (tmp_path / "kept/local" / path.parent.name / path.name).read_bytes() for path in records
    )


def _fetch_or_skip(artifacts, **options):
    try:
        flink_cluster.fetch(artifacts, **options)
    except PemtError as error:
        pytest.skip(str(error))

"""The Flink command: refusals, comparison, cluster, workers; and, where Maven gets the jars, a job on Flink."""

import contextlib
import json
import re
import shutil
import socket
import sys
import urllib.request
from pathlib import Path

import apache_beam
import pytest
from apache_beam.options.pipeline_options import FlinkRunnerOptions
from apache_beam.runners.portability.local_job_service import LocalJobServicer

from beam_jobs import flink
from beam_jobs.engines import flink_cluster
from beam_jobs.preprocess import main
from pemt_tf.errors import PemtError
from tests import media_files as media
from tests.beam_jobs.command import contents

needs_java = pytest.mark.skipif(
    not (shutil.which("java") and shutil.which("mvn")), reason="needs java and mvn, which are not installed"
)


PACKED = "org.apache.beam:beam-runners-flink-1.20-job-server:2.74.0"


def test_flink_versions_are_those_that_the_installed_beam_supports():
    assert set(flink_cluster.RELEASES) <= set(FlinkRunnerOptions.PUBLISHED_FLINK_VERSIONS)
    assert all(release.startswith(f"{version}.") for version, release in flink_cluster.RELEASES.items())
    assert {version for version, _ in flink_cluster.THIN_JARS} <= set(flink_cluster.RELEASES)


def _maven_with(monkeypatch, *served):
    """Lets Maven serve only these; returns what it was asked for."""
    asked = []

    def fetch(artifacts, with_dependencies=True):
        asked.append((artifacts, with_dependencies))
        if not set(artifacts) & set(served):
            raise PemtError(f"Maven cannot get {artifacts[0]}: find it")
        return "some.jar"

    monkeypatch.setattr(flink_cluster.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(flink_cluster, "fetch", fetch)
    return asked


def test_packed_job_server_of_the_installed_beam_comes_first(monkeypatch):
    asked = _maven_with(monkeypatch, PACKED, "org.apache.beam:beam-runners-flink-1.19:2.70.0")
    assert flink_cluster.find_job_server(None, "2.74.0") == flink_cluster.JobServer("1.20", "some.jar", PACKED)
    assert asked == [((PACKED,), False)]


@pytest.mark.parametrize(
    ("served", "version"),
    [
        (["1.20:2.74.0", "1.19:2.70.0", "1.19:2.62.0"], "1.20"),
        (["1.19:2.62.0", "1.19:2.70.0"], "1.19"),
        (["1.19:2.62.0"], "1.19"),
    ],
)
def test_thin_jars_are_taken_newest_first_and_it_says_why(served, version, monkeypatch):
    asked = _maven_with(monkeypatch, *(f"org.apache.beam:beam-runners-flink-{one}" for one in served))
    server = flink_cluster.find_job_server(None, "2.74.0")
    newest = max(served, key=lambda one: one.partition(":")[2])
    assert server.flink == version and f"beam-runners-flink-{newest} " in server.name
    assert f"Maven cannot get {PACKED}" in server.name
    artifacts, with_dependencies = asked[-1]
    assert with_dependencies and f"org.apache.flink:flink-runtime:{flink_cluster.RELEASES[version]}" in artifacts


def test_without_any_job_server_it_says_what_to_get(monkeypatch):
    _maven_with(monkeypatch)
    with pytest.raises(PemtError, match=rf"^Maven cannot get {PACKED}.*give it to --job_server_jar$"):
        flink_cluster.find_job_server(None, "2.74.0")


def test_given_jar_says_the_version_of_the_cluster(tmp_path):
    for name, version in (("1.19-job-server-2.70.0", "1.19"), ("1.20-job-server-2.74.0", "1.20")):
        jar = tmp_path / f"beam-runners-flink-{name}.jar"
        jar.touch()
        assert flink_cluster.find_job_server(str(jar), "2.74.0") == flink_cluster.JobServer(version, str(jar), str(jar))
    for name in ("beam-runners-flink-2.0-job-server-2.74.0.jar", "server.jar"):
        (tmp_path / name).touch()
        with pytest.raises(PemtError, match="must be named as published"):
            flink_cluster.find_job_server(str(tmp_path / name), "2.74.0")


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
    flags = set(flink.flink_flags(4, 5, 3))
    assert {"--parallelism=3", "--sdk_worker_parallelism=3"} <= flags
    assert {"--job_endpoint=localhost:4", "--environment_config=localhost:5"} <= flags


def test_shards_are_counted_at_the_step_that_makes_them(monkeypatch):
    """The answers have the form of Flink 1.19's REST interface."""
    answers = {
        "jobs/7": {
            "vertices": [{"id": "a", "name": "DataSource (Impulse)"}, {"id": "b", "name": "[2]{DecodeAndWrite, Count}"}]
        },
        "jobs/7/vertices/b": {"subtasks": [{"metrics": {"read-records": number}} for number in (3, 2)]},
        "jobs/8": {"vertices": [{"id": "c", "name": "DataSource (Impulse)"}]},
    }
    monkeypatch.setattr(flink_cluster, "ask", lambda address, what: answers[what])
    assert flink.shards_by_slot("http://localhost:1", "7") == [3, 2]
    assert flink.shards_by_slot("http://localhost:1", "8") == []


def test_a_job_that_gave_flink_nothing_to_do_is_no_proof(tmp_path, capsys, monkeypatch):
    """A finished data set with --resume, for one."""
    server = flink_cluster.JobServer("1.20", "x.jar", "x.jar")
    monkeypatch.setattr(flink_cluster, "require", lambda program: program)
    monkeypatch.setattr(flink_cluster, "find_job_server", lambda jar, beam: server)
    monkeypatch.setattr(flink_cluster, "local_cluster", lambda *_: contextlib.nullcontext("http://localhost:1"))
    monkeypatch.setattr(flink_cluster, "running_job_server", lambda *_: contextlib.nullcontext(1))
    monkeypatch.setattr(flink, "worker_pool", lambda *_: contextlib.nullcontext(2))
    monkeypatch.setattr(flink_cluster, "ask", lambda address, what: {"jobs": []})
    monkeypatch.setattr(flink.subprocess, "call", lambda command: 0)
    job = ["--input", "x", "--output", "y", "--resume"]
    assert flink.main(["--keep", str(tmp_path / "kept"), "--", *job]) == 2
    assert "nothing was left to do on Flink" in capsys.readouterr().err


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
@pytest.mark.parametrize("version", list(flink_cluster.RELEASES))
def test_cluster_of_two_task_slots_comes_up(version, tmp_path):
    _or_skip(flink_cluster.fetch, flink_cluster.cluster_jars(version))
    with flink_cluster.local_cluster(version, 2, tmp_path) as address:
        with urllib.request.urlopen(f"{address}/overview", timeout=30) as page:
            overview = json.load(page)
        assert (overview["taskmanagers"], overview["slots-available"]) == (1, 2)
        assert overview["flink-version"] == flink_cluster.RELEASES[version]
    with pytest.raises(OSError):
        urllib.request.urlopen(f"{address}/overview", timeout=5)


@needs_java
@pytest.mark.slow
def test_records_made_on_flink_are_those_made_locally(tmp_path, capfd, monkeypatch):
    server = _or_skip(flink_cluster.find_job_server, None, apache_beam.__version__)
    _or_skip(flink_cluster.fetch, flink_cluster.cluster_jars(server.flink))
    monkeypatch.setattr(flink_cluster, "find_job_server", lambda *_: server)  # Maven is slow
    for number in range(6):
        media.write_video(tmp_path / "in" / "train" / "ab"[number % 2] / f"{number}.mp4", seconds=1)
    job = ["--input", str(tmp_path / "in"), "--output", str(tmp_path / "out"), "--shards_per_split", "3"]
    assert flink.main(["--keep", str(tmp_path / "kept"), "--", *job]) == 0
    said = capfd.readouterr().out
    assert "DIFFERENT" not in said and "3 of 3 record files are byte-identical" in said
    records = sorted(Path(tmp_path, "out").glob("*/*.tfrecord"))
    assert [path.name for path in records] == [f"clips-0000{number}-of-00003.tfrecord" for number in range(3)]
    assert all(path.read_bytes() == (tmp_path / "kept/local/train" / path.name).read_bytes() for path in records)
    # One job, done by both task slots: of three shards one slot made two, the other one.
    assert len(made := re.findall(r"FINISHED after .* task slot: (.*)", said)) == 1
    assert sorted(made[0].split(", ")) == ["1", "2"]
    assert (tmp_path / "kept/workers.log").read_text().count("Starting worker") == 2


def _or_skip(get, *arguments):
    """What Maven gets; the test is skipped where it gets nothing."""
    try:
        return get(*arguments)
    except PemtError as error:
        pytest.skip(str(error))

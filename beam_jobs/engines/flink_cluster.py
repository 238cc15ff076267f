"""Starts a Flink cluster on this machine, and Beam's job server for it, from jars that Maven fetches.

The JobManager, the TaskManager and the job server are one process each. The cluster has only Flink's jars: the job
server sends Beam's along with the job, as it would to any other cluster.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pemt_tf.errors import PemtError

# Flink versions that Beam 2.74 and 2.77 both support, each with a release that was tested; the newest first.
RELEASES = {"1.20": "1.20.1", "1.19": "1.19.3"}
NEWEST = next(iter(RELEASES))
# Versions of Flink and Beam whose runner jar has its dependencies in other jars, for repositories that lack the job
# server; the newest first. A jar that is older than the installed Beam works, see docs/flink.md.
THIN_JARS = (("1.19", "2.70.0"), ("1.19", "2.62.0"))
LOGGING_JAR = "org.slf4j:slf4j-simple:1.7.36"
START_SECONDS = 90.0
MAVEN_SECONDS = 900.0
# Flink needs access to these on Java 17; Flink's own start scripts have the same list.
OPENED = (
    "java.lang java.lang.reflect java.net java.io java.nio java.text java.time java.util java.util.concurrent "
    "java.util.concurrent.atomic java.util.concurrent.locks sun.nio.ch"
)
JAVA_OPTIONS = [f"--add-opens=java.base/{name}=ALL-UNNAMED" for name in OPENED.split()]
JOB_MANAGER = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
TASK_MANAGER = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"
JOB_SERVER = "org.apache.beam.runners.flink.FlinkJobServerDriver"
# All sizes must be given: Flink's start scripts, which would derive the missing ones, are not used.
MEMORY = {
    "jobmanager.memory.process.size": "1024m",
    "taskmanager.memory.framework.heap.size": "128m",
    "taskmanager.memory.framework.off-heap.size": "128m",
    "taskmanager.memory.task.heap.size": "384m",
    "taskmanager.memory.task.off-heap.size": "0b",
    "taskmanager.memory.managed.size": "256m",
    "taskmanager.memory.network.min": "64m",
    "taskmanager.memory.network.max": "64m",
    "taskmanager.memory.jvm-metaspace.size": "256m",
    "taskmanager.memory.jvm-overhead.min": "192m",
    "taskmanager.memory.jvm-overhead.max": "192m",
}


def require(program: str) -> str:
    """Finds a program and returns its path."""
    path = shutil.which(program)
    if path is None:
        raise PemtError(
            f"{program} was not found; Flink needs Java 11 or 17, its jars come through Maven: install both"
        )
    return path


def fetch(artifacts: tuple[str, ...], with_dependencies: bool = True) -> str:
    """Fetches jars, each named `group:name:version`, through Maven; returns the class path."""
    maven = require("mvn")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "pom.xml").write_text(_project(artifacts, with_dependencies), encoding="utf-8")
        answer = Path(folder, "classpath")
        # -U: without it, Maven would not try again for a day what it could not get once.
        command = [maven, "-B", "-q", "-U", "-Dstyle.color=never", "dependency:build-classpath"]
        command.append(f"-Dmdep.outputFile={answer}")
        try:
            ended = subprocess.run(
                command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=MAVEN_SECONDS
            )
        except subprocess.TimeoutExpired:
            raise PemtError(f"Maven did not get {', '.join(artifacts)} in {MAVEN_SECONDS:.0f} s") from None
        if ended.returncode or not answer.is_file():
            said = (ended.stdout + ended.stderr).partition("[ERROR] ")[2].partition("\n")[0]
            said = said.rpartition("Could not ")[2].partition(" -> ")[0] or f"exit code {ended.returncode}"
            raise PemtError(f"Maven cannot get {', '.join(artifacts)}: {said[:300]}")
        return answer.read_text(encoding="utf-8").strip()


def _project(artifacts: tuple[str, ...], with_dependencies: bool) -> str:
    alone = "<exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion></exclusions>"
    wanted = "".join(
        "<dependency><groupId>{}</groupId><artifactId>{}</artifactId><version>{}</version>{}</dependency>".format(
            *artifact.split(":"), "" if with_dependencies else alone
        )
        for artifact in artifacts
    )
    return (
        '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
        "<groupId>local</groupId><artifactId>jars</artifactId><version>1</version>"
        f"<dependencies>{wanted}</dependencies></project>"
    )


@dataclasses.dataclass(frozen=True)
class JobServer:
    """Beam's program that takes jobs from Python and passes them to Flink."""

    flink: str  # version that it is built for, a key of `RELEASES`
    classpath: str
    name: str  # what it is and where it comes from


def cluster_jars(flink: str) -> tuple[str, ...]:
    """The jars that a cluster of a Flink version needs."""
    return (f"org.apache.flink:flink-clients:{RELEASES[flink]}", LOGGING_JAR)


def packed_job_server(beam: str) -> str:
    """Maven's name of the job server as a single jar, for the newest Flink version."""
    return f"org.apache.beam:beam-runners-flink-{NEWEST}-job-server:{beam}"


def thin_job_server(flink: str, beam: str) -> tuple[str, ...]:
    """The jars to fetch where the single one is not available."""
    # All of Flink's, and first: the runner would otherwise bring the .0 release of each.
    parts = ("core", "java", "runtime", "streaming-java", "clients")
    flink_jars = tuple(f"org.apache.flink:flink-{part}:{RELEASES[flink]}" for part in parts)
    return (*flink_jars, f"org.apache.beam:beam-runners-flink-{flink}:{beam}", LOGGING_JAR)


def find_job_server(jar: str | None, beam: str) -> JobServer:
    """Finds Beam's job server: the given jar; or the packed one of this version; or the thin jars, newest first."""
    if jar is not None:
        return _given_job_server(jar)
    require("mvn")
    try:
        return JobServer(NEWEST, fetch((packed_job_server(beam),), with_dependencies=False), packed_job_server(beam))
    except PemtError as error:
        reason = str(error)
    for flink, version in ((NEWEST, beam), *THIN_JARS):
        with contextlib.suppress(PemtError):
            classpath = fetch(thin_job_server(flink, version))
            name = f"org.apache.beam:beam-runners-flink-{flink}:{version} and its dependencies ({reason})"
            return JobServer(flink, classpath, name)
    raise PemtError(f"{reason}, nor the runner's thin jars; get that jar elsewhere and give it to --job_server_jar")


def _given_job_server(jar: str) -> JobServer:
    if not Path(jar).is_file():
        raise PemtError(f"no such file: {jar}; give the path of Beam's Flink job server to --job_server_jar")
    said = re.search(r"flink-(\d+\.\d+)-job-server", Path(jar).name)
    if said is None or said.group(1) not in RELEASES:
        raise PemtError(
            f"{jar} must be named as published, beam-runners-flink-VERSION-job-server-..., VERSION one of "
            f"{', '.join(RELEASES)}: the cluster is made to fit it"
        )
    return JobServer(said.group(1), str(Path(jar).absolute()), jar)


def free_port() -> int:
    """A port that is free now."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]


def configuration(slots: int, rest_port: int, rpc_port: int) -> str:
    """The text of Flink's config.yaml, for one machine whose ports are closed to others."""
    places = ("jobmanager.rpc.address", "jobmanager.bind-host", "taskmanager.host", "taskmanager.bind-host")
    settings = {
        **dict.fromkeys((*places, "rest.address", "rest.bind-address"), "localhost"),
        "jobmanager.rpc.port": rpc_port,
        "rest.port": rest_port,
        "taskmanager.numberOfTaskSlots": slots,
        "taskmanager.cpu.cores": float(slots),
        **MEMORY,
    }
    return "".join(f"{name}: {value}\n" for name, value in settings.items())


@contextlib.contextmanager
def running(command: list[str], log: Path, env: dict[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a process in the background until the context ends; its output goes to a file."""
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True, env=env
        )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def wait_for_port(port: int, process: subprocess.Popen[bytes], what: str, log: Path) -> None:
    """Waits until a process listens on its port."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("localhost", port), timeout=5):
            return
        if process.poll() is not None or time.monotonic() > deadline:
            raise PemtError(f"{what} did not come up; see {log}")
        time.sleep(0.2)


@contextlib.contextmanager
def local_cluster(flink: str, slots: int, logs: Path) -> Iterator[str]:
    """Runs a cluster with one TaskManager while the context is open; yields the address of its REST port."""
    java, classpath, rest_port = require("java"), fetch(cluster_jars(flink)), free_port()
    Path(logs, "config.yaml").write_text(configuration(slots, rest_port, free_port()), encoding="utf-8")
    base = [java, *JAVA_OPTIONS, "-Xmx512m", "-cp", classpath]
    with contextlib.ExitStack() as stack:
        for name, entry in (("jobmanager", JOB_MANAGER), ("taskmanager", TASK_MANAGER)):
            stack.enter_context(running([*base, entry, "--configDir", str(logs)], logs / f"{name}.log"))
        address = f"http://localhost:{rest_port}"
        wait_for_slots(address, slots, logs)
        yield address


@contextlib.contextmanager
def running_job_server(server: JobServer, address: str, logs: Path) -> Iterator[int]:
    """Runs Beam's job server while the context is open; yields its port, for `--job_endpoint`."""
    port = free_port()
    command = [require("java"), *JAVA_OPTIONS, "-Xmx512m", "-cp", server.classpath, JOB_SERVER]
    command += [f"--flink-master={address.removeprefix('http://')}", "--job-host=localhost", f"--job-port={port}"]
    command += ["--artifact-port=0", "--expansion-port=0", f"--artifacts-dir={logs / 'artifacts'}"]
    log = logs / "jobserver.log"
    with running(command, log) as process:
        wait_for_port(port, process, "Beam's job server", log)
        yield port


def wait_for_slots(address: str, slots: int, logs: Path) -> None:
    """Waits until all task slots are available."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, ValueError):
            if ask(address, "overview")["slots-total"] == slots:
                return
        time.sleep(0.5)
    raise PemtError(f"the Flink cluster did not come up in {START_SECONDS:.0f} s; its logs are in {logs}")


def ask(address: str, what: str) -> dict[str, Any]:
    """Asks the cluster's REST interface."""
    with urllib.request.urlopen(f"{address}/{what}", timeout=30) as page:
        return json.load(page)

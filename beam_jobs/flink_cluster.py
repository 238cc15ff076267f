"""A real Flink cluster on this machine, of jars that Maven fetches: a JobManager and a TaskManager, each a process."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from pemt_tf.errors import PemtError

# One of the Flink versions that Beam 2.74 and 2.77 both publish a job server for, with its newest bug fixes known here.
FLINK = "1.20"
FLINK_RELEASE = "1.20.1"
CLUSTER_JARS = (f"org.apache.flink:flink-clients:{FLINK_RELEASE}", "org.slf4j:slf4j-simple:1.7.36")
START_SECONDS = 90.0
MAVEN_SECONDS = 900.0
# Flink reaches into these on Java 17; the list is that of Flink's own start scripts.
OPENED = (
    "java.lang java.lang.reflect java.net java.io java.nio java.text java.time java.util java.util.concurrent "
    "java.util.concurrent.atomic java.util.concurrent.locks sun.nio.ch"
)
JAVA_OPTIONS = [f"--add-opens=java.base/{name}=ALL-UNNAMED" for name in OPENED.split()]
JOB_MANAGER = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
TASK_MANAGER = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"
# All sizes are given: without Flink's start scripts nobody derives the missing ones.
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
    """Path of a program.

    Raises:
        PemtError: it is not installed.
    """
    path = shutil.which(program)
    if path is None:
        raise PemtError(
            f"{program} was not found; Flink needs Java 11 or 17, its jars come through Maven: install both"
        )
    return path


def fetch(artifacts: tuple[str, ...], with_dependencies: bool = True) -> str:
    """Fetches jars through Maven, which keeps them in its own store.

    Args:
        artifacts: `group:name:version` each.
        with_dependencies: all that they need as well.

    Returns:
        A Java class path.

    Raises:
        PemtError: Maven cannot get one.
    """
    maven = require("mvn")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "pom.xml").write_text(_project(artifacts, with_dependencies), encoding="utf-8")
        answer = Path(folder, "classpath")
        # -U: Maven remembers what it could not get once, and does not try again for a day.
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


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]


def configuration(slots: int, rest_port: int, rpc_port: int) -> str:
    """Flink's config.yaml: one machine, nothing open to others."""
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
def running(command: list[str], log: Path, **options: object) -> Iterator[subprocess.Popen]:
    """A process in the background, ended with the context; what it says goes to a file."""
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True, **options
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


@contextlib.contextmanager
def local_cluster(slots: int, logs: Path) -> Iterator[str]:
    """A cluster with one TaskManager, running while the context is open.

    Args:
        slots: task slots of the TaskManager.
        logs: folder for the logs and the configuration.

    Yields:
        The cluster's address, for `--flink_master`.

    Raises:
        PemtError: it did not come up.
    """
    java, classpath, rest_port = require("java"), fetch(CLUSTER_JARS), free_port()
    Path(logs, "config.yaml").write_text(configuration(slots, rest_port, free_port()), encoding="utf-8")
    base = [java, *JAVA_OPTIONS, "-Xmx512m", "-cp", classpath]
    with contextlib.ExitStack() as stack:
        for name, entry in (("jobmanager", JOB_MANAGER), ("taskmanager", TASK_MANAGER)):
            stack.enter_context(running([*base, entry, "--configDir", str(logs)], logs / f"{name}.log"))
        address = f"http://localhost:{rest_port}"
        wait_for_slots(address, slots, logs)
        yield address


def wait_for_slots(address: str, slots: int, logs: Path) -> None:
    """Waits until all task slots are there.

    Raises:
        PemtError: they do not come.
    """
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, ValueError), urllib.request.urlopen(f"{address}/overview", timeout=5) as page:
            if json.load(page)["slots-total"] == slots:
                return
        time.sleep(0.5)
    raise PemtError(f"the Flink cluster did not come up in {START_SECONDS:.0f} s; its logs are in {logs}")

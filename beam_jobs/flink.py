"""Runs `beam_jobs.preprocess` on a Flink cluster that it starts on this machine, and compares with a local run.

    python -m beam_jobs.flink -- --input videos/ --output data/ --preset tiny

docs/flink.md says what it starts, and how to use a cluster that runs already.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from beam_jobs.engines import flink_cluster
from beam_jobs.engines.flink_cluster import RELEASES, free_port, running, wait_for_port
from beam_jobs.job import command_line
from pemt_tf.errors import PemtError
from pemt_tf.formats.named import SUFFIXES
from pemt_tf.terminal.exit_code import exit_code_of

EXAMPLE = """example:
  python -m beam_jobs.flink --parallelism 2 -- --input videos/ --output data/ --preset tiny

Everything after -- is passed to beam_jobs.preprocess. Needs java and mvn.
"""
STEP = "DecodeAndWrite"  # the step of the job's graph that makes a shard of each element


def build_parser() -> argparse.ArgumentParser:
    """The flags of this command."""
    parser = command_line.job_parser(
        "flink",
        "Starts a Flink cluster on this machine, runs beam_jobs.preprocess on it with separate Python "
        "worker processes, runs it locally as well, and compares the records.",
        EXAMPLE,
        passes_on=False,
    )
    add = parser.add_argument
    add("--parallelism", type=int, default=2, help="task slots and Python workers (default: 2)")
    add("--keep", metavar="FOLDER", help="keep the logs and the data set of the local run in this new folder")
    add("--job_server_jar", metavar="JAR", help="Beam's Flink job server, if Maven does not have it")
    return parser


def flink_flags(job_server: int, pool: int, parallelism: int) -> list[str]:
    """The flags that make Beam run on the cluster, given two ports and the number of worker processes."""
    return [
        "--runner=PortableRunner",
        f"--job_endpoint=localhost:{job_server}",
        f"--parallelism={parallelism}",
        f"--sdk_worker_parallelism={parallelism}",
        "--environment_type=EXTERNAL",
        f"--environment_config=localhost:{pool}",
    ]


def compare(one: Path, other: Path) -> list[tuple[str, str, str]]:
    """Name and both SHA-256 of each record file of two data sets, `missing` where a file is not there."""
    endings = SUFFIXES.values()
    names = sorted(
        {str(path.relative_to(root)) for root in (one, other) for path in root.glob("*/*") if path.suffix in endings}
    )
    return [(name, _digest(one / name), _digest(other / name)) for name in names]


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "missing"


def run(options: argparse.Namespace, job: list[str]) -> int:
    """Runs the job twice and prints the comparison; returns 0 if all records are the same."""
    output = _check_job(job)
    if options.parallelism < 1:
        raise PemtError(f"--parallelism={options.parallelism} is not above 0")
    if options.keep and Path(options.keep).exists():
        raise PemtError(f"{options.keep} is there already; give a new folder to --keep")
    flink_cluster.require("java")
    server = flink_cluster.find_job_server(options.job_server_jar, importlib.metadata.version("apache-beam"))
    _say(f"Beam's job server: {server.name}")
    if options.keep:
        work = Path(options.keep).absolute()
        work.mkdir(parents=True)
    else:
        work = Path(tempfile.mkdtemp())  # stays if something fails, because it has the logs
    run_on_flink(server, options.parallelism, work, job)
    _preprocess([*job, f"--output={work / 'local'}"], "locally", work)
    code = report(compare(work / "local", Path(output)))
    if code == 0 and not options.keep:
        shutil.rmtree(work, ignore_errors=True)
    return code


def run_on_flink(server: flink_cluster.JobServer, parallelism: int, logs: Path, job: list[str]) -> None:
    """Starts the cluster, runs the job on it, and prints what each task slot did."""
    with (
        flink_cluster.local_cluster(server.flink, parallelism, logs) as address,
        flink_cluster.running_job_server(server, address, logs) as job_server,
        worker_pool(logs) as pool,
    ):
        release = RELEASES[server.flink]
        _say(f"Flink {release} with {parallelism} task slots at {address}, logs in {logs}")
        _preprocess([*job, *flink_flags(job_server, pool, parallelism)], "on Flink", logs)
        jobs = flink_cluster.ask(address, "jobs/overview")["jobs"]
        if not jobs:
            raise PemtError("nothing was left to do on Flink: --output is finished; give a new folder")
        for one in jobs:
            shards = shards_by_slot(address, one["jid"])
            _say(
                f"Flink's job {one['jid']}: {one['state']} after {one['duration'] / 1000:.1f} s; shards made in each "
                f"task slot: {', '.join(map(str, shards))}"
            )


def shards_by_slot(address: str, job: str) -> list[int]:
    """The number of shards that each parallel task made; each task of a step has its own task slot."""
    for vertex in flink_cluster.ask(address, f"jobs/{job}")["vertices"]:
        if STEP in vertex["name"]:
            tasks = flink_cluster.ask(address, f"jobs/{job}/vertices/{vertex['id']}")["subtasks"]
            return [task["metrics"]["read-records"] for task in tasks]
    return []


def report(digests: list[tuple[str, str, str]]) -> int:
    """Prints the comparison; returns the exit code."""
    for name, local, flink in digests:
        _say(f"{'same     ' if local == flink else 'DIFFERENT'}  {name}\n  local {local}\n  Flink {flink}")
    same = sum(local == flink for _, local, flink in digests)
    _say(f"{same} of {len(digests)} record files are byte-identical")
    return 0 if digests and same == len(digests) else 1


@contextlib.contextmanager
def worker_pool(logs: Path) -> Iterator[int]:
    """Runs Beam's worker pool, which starts Python workers on request; yields its port."""
    port = free_port()
    # The pool starts the `python` that is first in the search path, which must be this environment's.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    command = [sys.executable, "-m", "apache_beam.runners.worker.worker_pool_main", f"--service_port={port}"]
    environment = {**os.environ, "PATH": path, "TF_CPP_MIN_LOG_LEVEL": "3"}
    log = logs / "workers.log"
    with running(command, log, env=environment) as process:
        wait_for_port(port, process, "the pool of Python workers", log)
        yield port


def _check_job(job: list[str]) -> str:
    """The output folder of the job."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--output")
    parser.add_argument("--runner")
    known = parser.parse_known_args(job)[0]
    if not known.output:
        raise PemtError("the job's flags follow --, --input and --output among them; see --help")
    if known.runner:
        raise PemtError("leave --runner out: the job is run on Flink and locally")
    if "://" in known.output:
        raise PemtError("--output must be a local folder here; for a real cluster see docs/flink.md")
    return known.output


def _preprocess(arguments: list[str], where: str, logs: Path) -> None:
    code = subprocess.call([sys.executable, "-m", "beam_jobs.preprocess", *arguments])
    if code:
        raise PemtError(f"the job {where} ended with exit code {code}; logs are in {logs}")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    end = arguments.index("--") if "--" in arguments else len(arguments)
    options = build_parser().parse_args(arguments[:end])
    return exit_code_of(lambda: run(options, arguments[end + 1 :]))


if __name__ == "__main__":
    sys.exit(main())

"""Training on several machines: the workers of TF_CONFIG, waiting for them, and losing one."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import tensorflow as tf

from pemt_tf.errors import PemtError

EXAMPLE = '{"cluster": {"worker": ["host-a:2222", "host-b:2222"]}, "task": {"type": "worker", "index": 0}}'
WAIT_SECONDS = 600  # for the others to start
_REMIND_SECONDS = 30
_ROLES = ("chief", "worker")
_LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.FailedPreconditionError,
    tf.errors.InternalError,
)


@dataclass(frozen=True)
class Cluster:
    """Workers that train together, and which of them this process is; the first is the chief, which writes the run."""

    addresses: tuple[str, ...]  # host:port
    index: int

    @property
    def is_chief(self) -> bool:
        """Whether this process writes checkpoints, metrics and weights."""
        return self.index == 0

    @classmethod
    def parse(cls, text: str | None) -> Cluster | None:
        """Reads TF_CONFIG; None if it is not set or names no cluster, PemtError if it is malformed."""
        if not text:
            return None
        try:
            config = json.loads(text)
        except ValueError as error:
            raise _malformed(f"is not JSON ({error})") from None
        if not isinstance(config, dict):
            raise _malformed("is not a JSON object")
        if not config.get("cluster"):
            return None
        jobs, task = config["cluster"], config.get("task")
        _check_jobs(jobs)
        if not isinstance(task, dict) or not isinstance(task.get("type"), str) or task["type"] not in jobs:
            raise _malformed(f"has task {json.dumps(task)}, whose type must be one of: {', '.join(jobs)}")
        addresses, index = jobs[task["type"]], task.get("index")
        if isinstance(index, str) and index.isascii() and index.isdigit() and len(index) < 10:
            index = int(index)  # Kubeflow and shell scripts write it as text
        if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < len(addresses):
            last = len(addresses) - 1
            raise _malformed(f"has task index {json.dumps(index)}; there are {task['type']} 0 to {last}")
        chiefs = jobs.get("chief", [])
        before = len(chiefs) if task["type"] == "worker" else 0
        return cls((*chiefs, *jobs.get("worker", [])), before + index)


def this_cluster() -> Cluster | None:
    """The cluster of TF_CONFIG, if it has more than one worker; raises PemtError if TF_CONFIG is malformed."""
    cluster = Cluster.parse(os.environ.get("TF_CONFIG"))
    return cluster if cluster is not None and len(cluster.addresses) > 1 else None


def _check_jobs(jobs: object) -> None:
    if not isinstance(jobs, dict):
        raise _malformed("has a cluster that is not a JSON object")
    other = [name for name in jobs if name not in _ROLES]
    if other:
        raise _malformed(f"names the job {other[0]!r}; only chief and worker train here")
    for name, addresses in jobs.items():
        fits = isinstance(addresses, list) and addresses
        if not fits or not all(isinstance(a, str) and a.rpartition(":")[2].isdigit() for a in addresses):
            raise _malformed(f"gives {name} {json.dumps(addresses)}; it must be a list of host:port")
    if len(jobs.get("chief", ())) > 1:
        raise _malformed("names more than one chief")


def _malformed(what: str) -> PemtError:
    return PemtError(f"TF_CONFIG {what}. On each machine it must look like {EXAMPLE}, with its own index")


@contextlib.contextmanager
def waiting_for_others(cluster: Cluster, seconds: float = WAIT_SECONDS) -> Iterator[None]:
    """Reports missing workers now and then, and ends the process after `seconds` without them.

    TensorFlow waits for them for an hour, inside a call that no signal and no exception can interrupt.
    """
    ready = threading.Event()

    def watch() -> None:
        others = ", ".join(a for index, a in enumerate(cluster.addresses) if index != cluster.index)
        waited = 0.0
        while waited < seconds:
            if ready.wait(min(_REMIND_SECONDS, seconds - waited)):
                return
            waited += _REMIND_SECONDS
            if waited < seconds:
                sys.stderr.write(f"waiting for {others}\n")
        sys.stderr.write(
            f"error: no connection to all of {others} after {seconds:.0f} seconds; start the same command on every "
            "machine of TF_CONFIG, and see that these ports are open\n"
        )
        sys.stderr.flush()
        os._exit(2)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ready.set()
        thread.join()


@contextlib.contextmanager
def noticing_lost_workers() -> Iterator[None]:
    """Turns TensorFlow's errors about a lost worker into a PemtError; changes nothing without a cluster."""
    try:
        yield
    except _LOST as error:
        if this_cluster() is None:
            raise
        found = re.search(r"Collective ops is aborted by: (.+?)(\. |$)", error.message, re.MULTILINE)
        cause = found.group(1) if found else error.message.strip().splitlines()[0]
        raise PemtError(
            f"another worker is lost ({cause}); start the same command again on every machine to continue the run from "
            "its last checkpoint"
        ) from None

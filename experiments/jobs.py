"""Commands that depend on each other, run a few at a time; what is finished stays finished."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pemt_tf.errors import PemtError
from pemt_tf.terminal.progress import Progress

NAMES = {"pemt_tf.cli": "pemt"}  # as people type it
_TAIL = 5  # lines of a failed command's log that are shown


@dataclass(frozen=True)
class Job:
    """One command.

    Attributes:
        name: unique; a path below the folder of logs.
        module: run as `python -m module`.
        arguments: the command's arguments.
        produces: a file that is there when the command is done.
        needs: names of jobs that must be done before.
    """

    name: str
    module: str
    arguments: tuple[str, ...]
    produces: Path
    needs: tuple[str, ...] = ()

    @property
    def command(self) -> str:
        """As one would type it."""
        return shlex.join([*NAMES.get(self.module, f"python -m {self.module}").split(), *self.arguments])


def run_jobs(jobs: Sequence[Job], folder: Path, workers: int) -> None:
    """Runs what is not done yet, each job with one thread for arithmetic.

    Args:
        jobs: in an order in which needs come first.
        folder: `logs/NAME.log` holds what a command said, `times/NAME.json` how long it took.
        workers: commands at a time.

    Raises:
        PemtError: a command failed; those that run already are waited for, no other one is started.
        KeyboardInterrupt: after the running commands have saved their work.
    """
    _Runner(jobs, folder).run(workers)


class _Runner:
    """The jobs that wait, run, and are done; all under one lock."""

    def __init__(self, jobs: Sequence[Job], folder: Path):
        self.folder = folder
        self.done = {job.name for job in jobs if _is_done(job, folder)}
        self.waiting = [job for job in jobs if job.name not in self.done]
        self.running: set[str] = set()
        self.failed: Job | None = None
        self.changed = threading.Condition()
        self.progress = Progress("results", len(jobs), "jobs", done=len(self.done))

    def run(self, workers: int) -> None:
        threads = [threading.Thread(target=self._work, daemon=True) for _ in range(workers)]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                thread.join()
        except KeyboardInterrupt:
            with self.changed:
                self.waiting.clear()  # the interrupt has reached the commands as well, which save what they have
            for thread in threads:
                thread.join()
            raise
        finally:
            self.progress.close()
        if self.failed:
            log = _log(self.failed, self.folder)
            said = " / ".join(log.read_text(encoding="utf-8").splitlines()[-_TAIL:])
            raise PemtError(f"`{self.failed.command}` failed: {said} (all of it: {log})")

    def _work(self) -> None:
        while (job := self._next()) is not None:
            code = self._execute(job)
            with self.changed:
                self.running.remove(job.name)
                if code == 0 and job.produces.exists():
                    self.done.add(job.name)
                    self.progress.update(len(self.done), job.name)
                else:
                    self.failed = self.failed or job
                    self.waiting.clear()
                self.changed.notify_all()

    def _next(self) -> Job | None:
        with self.changed:
            while self.waiting:
                ready = next((job for job in self.waiting if self.done.issuperset(job.needs)), None)
                if ready is not None:
                    self.waiting.remove(ready)
                    self.running.add(ready.name)
                    return ready
                if not self.running:
                    names = ", ".join(sorted({need for job in self.waiting for need in job.needs} - self.done))
                    raise AssertionError(f"no job makes {names}")
                self.changed.wait()
            return None

    def _execute(self, job: Job) -> int:
        log = _log(job, self.folder)
        log.parent.mkdir(parents=True, exist_ok=True)
        one_thread = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "OMP_NUM_THREADS": "1"}
        started = time.monotonic()
        with log.open("w", encoding="utf-8") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", job.module, *job.arguments],
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**os.environ, **one_thread},
            )
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        seconds, cpu_seconds = time.monotonic() - started, usage.ru_utime + usage.ru_stime
        _note_times(job, self.folder, seconds, cpu_seconds, process.returncode == 0)
        return process.returncode


def _note_times(job: Job, folder: Path, seconds: float, cpu_seconds: float, finished: bool) -> None:
    """What the command took, with its tries that were interrupted or failed, whose work it went on from."""
    path = _times(job, folder)
    tried = path.with_suffix(".unfinished")
    times = {"command": job.command, "seconds": seconds, "cpu_seconds": cpu_seconds}
    if tried.is_file():
        earlier = json.loads(tried.read_text(encoding="utf-8"))
        if earlier["command"] == job.command:
            times |= {name: times[name] + earlier[name] for name in ("seconds", "cpu_seconds")}
    times |= {name: round(times[name], 1) for name in ("seconds", "cpu_seconds")}
    path.parent.mkdir(parents=True, exist_ok=True)
    (path if finished else tried).write_text(json.dumps(times, indent=2) + "\n", encoding="utf-8")
    if finished:
        tried.unlink(missing_ok=True)


def times_of(job: Job, folder: Path) -> dict:
    """`command`, `seconds` (wall) and `cpu_seconds` of a finished job."""
    return json.loads(_times(job, folder).read_text(encoding="utf-8"))


def _is_done(job: Job, folder: Path) -> bool:
    """What it makes is there, by this very command."""
    path = _times(job, folder)
    return job.produces.exists() and path.is_file() and times_of(job, folder)["command"] == job.command


def _log(job: Job, folder: Path) -> Path:
    return folder / "logs" / f"{job.name}.log"


def _times(job: Job, folder: Path) -> Path:
    return folder / "times" / f"{job.name}.json"

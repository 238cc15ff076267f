"""Runs a command with all its children on given cores, and says what it cost: CPU seconds, wall seconds, memory."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
_SAMPLE_SECONDS = 0.05
# One thread each, so that a side cannot do on the second core what is not counted as its own speed.
ONE_THREAD = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "PYTHONWARNINGS": "ignore",
}


@dataclass(frozen=True)
class Cost:
    """What a command took, all its processes together.

    Attributes:
        cpu: user and system seconds.
        wall: seconds.
        peak_mb: sum of the largest resident sizes of all its processes, MB (an upper bound: shared pages count for
            each, and the peaks need not fall together); 0 unless asked for.
        output: standard output.
    """

    cpu: float
    wall: float
    peak_mb: float
    output: str


def run(command: list[str], cores: set[int], environment: dict[str, str] | None = None, memory: bool = False) -> Cost:
    """Runs a command to its end and waits for every process that it left behind.

    Args:
        command: program and arguments.
        cores: the only ones that it may use.
        environment: variables on top of this process's and `ONE_THREAD`.
        memory: watch its memory; the watching runs in this process and is not counted.

    Raises:
        SystemExit: the command failed; with the end of what it said.
    """
    # Orphans become children of this process, so that none escapes the count.
    ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1)
    began = time.perf_counter()
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **ONE_THREAD, **(environment or {})},
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )
    said: dict[str, bytes] = {}
    readers = [_read(process.stdout, said, "output"), _read(process.stderr, said, "error")]
    peaks: dict[int, int] = {}
    ended = threading.Event()
    watcher = threading.Thread(target=_watch, args=(process.pid, ended, peaks), daemon=True)
    if memory:
        watcher.start()
    cpu, code = _wait_for_all(process)
    wall = time.perf_counter() - began
    ended.set()
    for reader in readers:
        reader.join()
    if code:
        raise SystemExit(
            f"{' '.join(command[:4])} ... failed ({code}):\n{said['error'].decode(errors='replace')[-2000:]}"
        )
    return Cost(cpu, wall, sum(peaks.values()) / 1000, said["output"].decode(errors="replace"))


def _wait_for_all(process: subprocess.Popen) -> tuple[float, int]:
    """CPU seconds of all processes, and the exit code of the first."""
    cpu, code = 0.0, 0
    while True:
        try:
            pid, status, usage = os.wait4(-1, 0)
        except ChildProcessError:
            break
        cpu += usage.ru_utime + usage.ru_stime
        if pid == process.pid:
            code = process.returncode = os.waitstatus_to_exitcode(status)
            _end_children()  # what is left has nobody to work for
    return cpu, code


def _end_children() -> None:
    for pid in _tree(os.getpid()) - {os.getpid()}:
        os.kill(pid, signal.SIGTERM)


def _read(pipe, said: dict[str, bytes], name: str) -> threading.Thread:
    def read() -> None:
        said[name] = pipe.read()
        pipe.close()

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    return thread


def _tree(root: int) -> set[int]:
    """A process and all below it."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found, before = {root}, set()
    while found != before:
        before = set(found)
        found |= {pid for pid, parent in parents.items() if parent in found}
    return found


def _watch(root: int, ended: threading.Event, peaks: dict[int, int]) -> None:
    while not ended.wait(_SAMPLE_SECONDS):
        for pid in _tree(root):
            try:
                status = Path(f"/proc/{pid}/status").read_text()
            except OSError:
                continue
            line = next((line for line in status.splitlines() if line.startswith("VmHWM")), None)
            if line:
                peaks[pid] = max(peaks.get(pid, 0), int(line.split()[1]))


def usable_cores() -> set[int]:
    """The cores that this process may use."""
    return os.sched_getaffinity(0)

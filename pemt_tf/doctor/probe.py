"""Checks that may crash or hang Python itself: each runs in its own process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

SECONDS = 600.0  # a busy machine with a slow disk takes minutes to import TensorFlow
UNANSWERED = "no answer"


@dataclass(frozen=True)
class ProbeResult:
    """Values that a probe reported; `failure` completes a sentence and is empty if the probe finished."""

    values: dict[str, Any] = field(default_factory=dict)
    failure: str = ""


class ProbeProcess:
    """Runs a module of this package that prints one JSON object per line; it starts at once.

    A line with `step` names what the module is about to do, so that a crash can be located.
    """

    def __init__(self, module: str, seconds: float = SECONDS):
        self._seconds = seconds
        environment = {"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ, "PYTHONWARNINGS": "ignore"}
        command, pipe = [sys.executable, "-m", module], subprocess.PIPE
        self._process = subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, errors="replace")

    def result(self) -> ProbeResult:
        """Waits for the process to end."""
        try:
            out, err = self._process.communicate(timeout=self._seconds)
            code = self._process.returncode
        except subprocess.TimeoutExpired:
            self._process.kill()
            out, err = self._process.communicate()
            code = None
        values, step = _read(out)
        if "failure" in values:
            return ProbeResult(values, str(values["failure"]))
        if code == 0:
            return ProbeResult(values)
        where = f" during: {step}" if step else ""
        if code is None:
            return ProbeResult(values, f"{UNANSWERED} within {self._seconds:g} s{where}")
        if code < 0:
            return ProbeResult(values, f"Python was killed by {_signal_name(-code)}{where}")
        last = err.strip().splitlines()[-1:] or [f"exit code {code}"]
        return ProbeResult(values, f"{last[0]}{where}")

    def stop(self) -> None:
        """Kills the process if it still runs."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()


def _read(out: str) -> tuple[dict[str, Any], str]:
    values: dict[str, Any] = {}
    for line in out.splitlines():
        try:
            said = json.loads(line)
        except ValueError:
            continue  # libraries print too
        if isinstance(said, dict):
            values |= said
    return values, str(values.pop("step", ""))


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def report(**values: Any) -> None:
    """Reports values, from inside a probe."""
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


def report_failures_of(examine: Callable[[], None]) -> None:
    """Runs a probe; an exception becomes its failure."""
    try:
        examine()
    except Exception as error:
        report(failure=" ".join(f"{type(error).__name__}: {error}".split())[:400])

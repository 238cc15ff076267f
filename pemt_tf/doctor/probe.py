"""Questions that may crash or hang Python itself: each is asked in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from typing import Any

SECONDS = 600.0  # a busy machine with a slow disk takes minutes to import TensorFlow

UNANSWERED = "no answer"


@dataclass(frozen=True)
class Answer:
    """What a probe found out.

    Attributes:
        values: what it reported, by name.
        failure: why it did not come to its end, as part of a sentence; empty if it did.
    """

    values: dict[str, Any] = field(default_factory=dict)
    failure: str = ""


class Probe:
    """A module of this package that prints JSON objects, a line each; it is started at once and asked later.

    A line with `step` says what it is about to do, so that its death has a place.

    Args:
        module: its name.
        seconds: after which it is killed.
    """

    def __init__(self, module: str, seconds: float = SECONDS):
        self._seconds = seconds
        environment = {"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ, "PYTHONWARNINGS": "ignore"}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        command = [sys.executable, "-m", module]
        self._process = subprocess.Popen(command, env=environment, text=True, errors="replace", **pipes)

    def answer(self) -> Answer:
        """Waits for its end."""
        try:
            out, err = self._process.communicate(timeout=self._seconds)
            code = self._process.returncode
        except subprocess.TimeoutExpired:
            self._process.kill()
            out, err = self._process.communicate()
            code = None
        values, step = _read(out)
        if "failure" in values:
            return Answer(values, str(values["failure"]))
        if code == 0:
            return Answer(values)
        where = f" during: {step}" if step else ""
        if code is None:
            return Answer(values, f"{UNANSWERED} within {self._seconds:g} s{where}")
        if code < 0:
            return Answer(values, f"Python was killed by {_signal_name(-code)}{where}")
        last = err.strip().splitlines()[-1:] or [f"exit code {code}"]
        return Answer(values, f"{last[0]}{where}")

    def stop(self) -> None:
        """Ends it if it still runs."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()


def _read(out: str) -> tuple[dict[str, Any], str]:
    values: dict[str, Any] = {}
    for line in out.splitlines():
        try:
            said = json.loads(line)
        except ValueError:
            continue  # libraries print, too
        if isinstance(said, dict):
            values |= said
    return values, str(values.pop("step", ""))


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def report(**values: Any) -> None:
    """Inside a probe: says something to the process that asked."""
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()

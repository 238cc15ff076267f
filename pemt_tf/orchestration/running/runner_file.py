"""What a pipeline's runner files share: `pipeline/local_runner.py` and `pipeline/kubeflow_runner.py`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from pemt_tf.orchestration.running.quiet_tfx import silence_libraries
from pemt_tf.terminal.exit_code import exit_code_of


def make_importable(runner: str) -> None:
    """Lets a runner import the package that it lies in.

    When a file is started, Python looks beside it first, where pipeline.py would hide the package of the same name.
    """
    folder = Path(runner).resolve().parent
    sys.path[:] = [str(folder.parent) if Path(entry or ".").resolve() == folder else entry for entry in sys.path]


def run_as_command(run: Callable[[], None]) -> int:
    """Runs a function without the chatter of TFX, and returns the exit code."""
    silence_libraries()
    return exit_code_of(run, interrupted="interrupted; the next run continues after the last finished node")

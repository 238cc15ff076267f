"""What a pipeline's runner files share: `pipeline/local_runner.py` and `pipeline/kubeflow_runner.py`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from pemt_tf.errors import PemtError
from pemt_tf.orchestration.running.quiet_tfx import silence_libraries
from pemt_tf.training.interruption import stopped_by_sigterm


def make_importable(runner: str) -> None:
    """Lets a runner import the package that it lies in.

    When a file is started, Python looks beside it first, where pipeline.py would hide the package of the same name.

    Args:
        runner: the runner's `__file__`.
    """
    folder = Path(runner).resolve().parent
    sys.path[:] = [str(folder.parent) if Path(entry or ".").resolve() == folder else entry for entry in sys.path]


def exit_code_of(run: Callable[[], None]) -> int:
    """Runs a function with TFX's chatter kept from the terminal; a PemtError becomes one line and exit code 2."""
    silence_libraries()
    try:
        with stopped_by_sigterm():
            run()
    except PemtError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; the next run goes on after the last finished node\n")
        return 130
    return 0

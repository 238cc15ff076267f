"""Hides TensorFlow's start-up messages, whatever its release; everything else on standard error passes."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

LEVEL = "TF_CPP_MIN_LOG_LEVEL"
_QUIET = "3"
# Since TensorFlow 2.17 its C++ writes before it has read the level: notes (I) and warnings (W) of absl's logging, about
# oneDNN, CUDA and TensorRT, and as errors (E) that a GPU's libraries are registered twice.
NOISE = (
    r"WARNING: All log messages before absl::InitializeLog|[IW]\d{4} \d\d:\d\d:|"
    r"E\d{4} \d\d:\d\d:.*Unable to register cu\w+ (factory|plugin)"
)
_FILTER = """
import re, sys
noise = re.compile(sys.argv[1].encode())
for line in sys.stdin.buffer:
    if not noise.match(line):
        sys.stderr.buffer.write(line)
        sys.stderr.buffer.flush()
"""


def quiet_tensorflow() -> None:
    """Call it before TensorFlow is imported; another TF_CPP_MIN_LOG_LEVEL in the environment shows everything."""
    os.environ.setdefault(LEVEL, _QUIET)
    known = any(isinstance(finder, _Finder) for finder in sys.meta_path)
    if os.environ[LEVEL] == _QUIET and "tensorflow" not in sys.modules and not known:
        sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    """Finds TensorFlow as usual, and filters standard error while it is imported for the first time."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name != "tensorflow":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_filtered(module: ModuleType) -> None:
                with filtered_stderr():
                    execute(module)

            spec.loader.exec_module = execute_filtered
        return spec


@contextlib.contextmanager
def filtered_stderr() -> Iterator[None]:
    """Sends standard error, also that of C++, through a process that drops lines that match `NOISE`.

    It is another process so that what this one wrote before a crash still gets through.
    """
    try:
        own = os.dup(2)
        passing = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _FILTER, NOISE],
            stdin=subprocess.PIPE,
            start_new_session=True,  # it ignores Ctrl-C
        )
    except OSError:  # no standard error, or no process can be started: the messages are shown
        yield
        return
    assert passing.stdin is not None
    sys.stderr.flush()
    os.dup2(passing.stdin.fileno(), 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(own, 2)
        os.close(own)
        passing.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):  # a program started meanwhile may still write
            passing.wait(timeout=5)

"""Keeps TensorFlow's start-up notes off the user's screen, whatever its release; everything else passes."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.abc import MetaPathFinder

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
    """Call it before TensorFlow is imported; who has set TF_CPP_MIN_LOG_LEVEL to another level sees everything."""
    os.environ.setdefault(LEVEL, _QUIET)
    known = any(isinstance(finder, _Finder) for finder in sys.meta_path)
    if os.environ[LEVEL] == _QUIET and "tensorflow" not in sys.modules and not known:
        sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    """Finds TensorFlow as others would, and filters standard error while it is imported for the first time."""

    def find_spec(self, name, path=None, target=None):
        if name != "tensorflow":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_filtered(module) -> None:
                with filtered_stderr():
                    execute(module)

            spec.loader.exec_module = execute_filtered
        return spec


@contextlib.contextmanager
def filtered_stderr() -> Iterator[None]:
    """Standard error, also that of C++, goes through another process, which leaves out lines that are `NOISE`.

    Another process, because it still passes on what this one wrote before it crashed.
    """
    try:
        own = os.dup(2)
        passing = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _FILTER, NOISE],
            stdin=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is not for it
        )
    except OSError:  # no standard error, or no room for a process: then the notes are seen
        yield
        return
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

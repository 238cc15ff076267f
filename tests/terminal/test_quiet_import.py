"""TensorFlow's start-up notes are left out of standard error; errors, warnings of Python and last words are not."""

import os
import subprocess
import sys

import pytest

from pemt_tf.terminal.quiet_import import LEVEL

NOTES = """\
WARNING: All log messages before absl::InitializeLog() is called are written to STDERR
I0000 00:00:1795820870.600962   11555 port.cc:153] oneDNN custom operations are on. You may see slightly different
I0000 00:00:1795820870.619838   11555 cudart_stub.cc:31] Could not find cuda drivers on your machine
W0000 00:00:1795820870.619838   11555 py_utils.cc:38] TF-TRT Warning: Could not find TensorRT
E0000 00:00:1795820870.619838   11555 cuda_dnn.cc:8579] Unable to register cuDNN factory: Attempting to register factory
"""
REAL = """\
E0000 00:00:1795820870.619838   11555 cuda_executor.cc:1228] failed call to cuInit: CUDA_ERROR_UNKNOWN
F0000 00:00:1795820870.619838   11555 cpu_feature_guard.cc:67] TensorFlow was compiled to use AVX instructions
/somewhere/numpy.py:3: UserWarning: numbers are strange
In the beginning I0000 00:00 stands elsewhere
"""


def run(tmp_path, ending: str, after: str = "", level: str | None = None):
    """A program that imports a TensorFlow that writes all of it from C's point of view, and then does `ending`."""
    (tmp_path / "tensorflow").mkdir()
    (tmp_path / "tensorflow" / "__init__.py").write_text(
        f"import os, sys\nos.write(2, {(NOTES + REAL).encode()!r})\nsys.stderr.write('from Python\\n')\n{ending}\n"
    )
    program = (
        f"from pemt_tf.terminal.quiet_import import quiet_tensorflow\nquiet_tensorflow()\nquiet_tensorflow()\n"
        f"import tensorflow\nimport os, sys\nos.write(2, b'I0000 00:00:00 later\\n')\n{after}"
    )
    environment = {name: value for name, value in os.environ.items() if name != LEVEL}
    environment |= {"PYTHONPATH": os.pathsep.join([str(tmp_path), os.getcwd()])}  # noqa: PTH109
    environment |= {} if level is None else {LEVEL: level}
    return subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)


def test_notes_are_left_out_and_everything_else_passes(tmp_path):
    done = run(tmp_path, "VALUE = 3", after="sys.stdout.write(str(tensorflow.VALUE))")
    assert (done.returncode, done.stdout) == (0, "3")
    assert done.stderr == REAL + "from Python\nI0000 00:00:00 later\n"  # only the import is filtered


def test_the_last_words_of_a_crash_are_seen(tmp_path):
    done = run(tmp_path, "os.write(2, b'Illegal instruction'); os.abort()")
    assert done.returncode == -6
    assert done.stderr.startswith(REAL) and "from Python" in done.stderr and "Illegal instruction" in done.stderr


def test_an_import_that_fails_says_so(tmp_path):
    done = run(tmp_path, "raise ImportError('libcuda is broken')")
    assert done.returncode == 1
    assert done.stderr.startswith(REAL) and done.stderr.endswith("ImportError: libcuda is broken\n")


@pytest.mark.parametrize("level", ["0", "2"])
def test_who_asks_for_the_notes_gets_them(tmp_path, level):
    assert run(tmp_path, "", level=level).stderr.startswith(NOTES + REAL)


def test_programs_that_ours_start_are_quiet_too(tmp_path):
    assert run(tmp_path, "", level="3").stderr.startswith(REAL)


def test_without_standard_error_nothing_is_filtered():
    imports = "import os; from pemt_tf.terminal.quiet_import import filtered_stderr"
    program = f"{imports}\nos.close(2)\nwith filtered_stderr(): print(3)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "3\n"


def test_the_real_one_says_nothing():
    imports = "from pemt_tf.terminal.exit_code import exit_code_of"
    program = f"{imports}; exit_code_of(lambda: None); import tensorflow as tf; tf.ones(2) + 1"
    environment = {name: value for name, value in os.environ.items() if name != LEVEL}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")

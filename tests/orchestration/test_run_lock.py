"""One run at a time in a root."""

import subprocess
import sys

import pytest

from pemt_tf.errors import PemtError
from pemt_tf.orchestration.running.run_lock import is_running, only_run

HOLD = """
import pathlib, sys
from pemt_tf.orchestration.running.run_lock import only_run
with only_run(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_run_is_refused_until_the_first_ends_however_it_ends(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        assert is_running(tmp_path)
        refused = rf"another run is under way in .* \(process {holder.pid} on .*, since 20"
        with pytest.raises(PemtError, match=refused), only_run(tmp_path):
            pass
        holder.kill()
    assert not is_running(tmp_path)
    with only_run(tmp_path):
        assert is_running(tmp_path)
    assert not is_running(tmp_path)


def test_an_error_inside_is_not_taken_for_one_of_the_lock(tmp_path):
    with pytest.raises(FileNotFoundError), only_run(tmp_path):
        (tmp_path / "nothing").read_text()


def test_a_root_that_cannot_be_written_is_said(tmp_path):
    with pytest.raises(PemtError, match="cannot write to the pipeline's root"), only_run(tmp_path / "missing"):
        pass

"""A lock of a folder: one process at a time, and a dead one holds nothing."""

import os
import socket
import subprocess
import sys

import pytest

from pemt_tf.files.folder_lock import LockHeldError, lock

HOLD = """
import pathlib, sys
from pemt_tf.files.folder_lock import lock
with lock(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_one_at_a_time_until_the_first_ends_however_it_ends(tmp_path):
    path = tmp_path / "a.lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout.readline() == "held\n"
        holds = rf"^process {holder.pid} on {socket.gethostname()}, since 20\d\d-"
        with pytest.raises(LockHeldError, match=holds), lock(path):
            pass
        holder.kill()
    assert path.exists()  # it was killed, and its file means nothing
    with lock(path):
        assert path.read_text().startswith(f"process {os.getpid()} on ")
        with pytest.raises(LockHeldError), lock(path):  # within one process as well
            pass
    assert not path.exists()


def test_a_file_that_its_holder_has_just_taken_away_is_not_a_lock(tmp_path, monkeypatch):
    """Between opening and locking the file may go: two would hold locks, each of another file."""
    import fcntl

    path, locked = tmp_path / "a.lock", []

    def flock(file, how):
        if not locked:
            path.unlink()
        locked.append(file.name)

    monkeypatch.setattr(fcntl, "flock", flock)
    with lock(path):
        assert len(locked) == 2 and path.exists()


def test_a_file_system_without_locks_refuses_nothing(tmp_path, monkeypatch):
    import fcntl

    def flock(file, how):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", flock)
    with lock(tmp_path / "a"), lock(tmp_path / "a"):
        pass

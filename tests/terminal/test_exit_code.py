import os
import signal

import pytest

from pemt_tf.errors import PemtError
from pemt_tf.terminal.exit_code import exit_code_of


def raising(error):
    def work():
        raise error

    return work


@pytest.mark.parametrize(
    ("work", "code", "said"),
    [
        (lambda: None, 0, ""),
        (lambda: 1, 1, ""),
        (raising(PemtError("no rank; set one")), 2, "error: no rank; set one\n"),
        (raising(OSError(28, "No space left on device")), 2, "error: [Errno 28] No space left on device\n"),
        (raising(KeyboardInterrupt()), 130, "stopped; run it again to go on\n"),
        (raising(KeyboardInterrupt("3 of 4 are done")), 130, "3 of 4 are done\n"),
        (lambda: os.kill(os.getpid(), signal.SIGTERM), 130, "stopped; run it again to go on\n"),
        (raising(BrokenPipeError()), 0, ""),
    ],
)
def test_a_command_ends_with_a_code_and_one_line(work, code, said, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdout", None)  # put back after a broken pipe
    assert exit_code_of(work, "stopped; run it again to go on") == code
    assert capsys.readouterr().err == said


def test_a_defect_of_ours_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        exit_code_of(lambda: 1 // 0)

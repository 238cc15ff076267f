"""An interrupt lets the child finish what it does on an interrupt."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from pemt_tf.terminal.child_process import run_and_wait

CHILD = """
import time
try:
    print("started", flush=True)
    time.sleep(30)
except KeyboardInterrupt:
    time.sleep(1)  # saving takes longer than subprocess.run would wait
    raise SystemExit(7)
"""
PARENT = f"""
import sys
from pemt_tf.terminal.child_process import run_and_wait
sys.exit(run_and_wait([sys.executable, "-c", {CHILD!r}]))
"""


def test_exit_code_of_the_child():
    assert run_and_wait([sys.executable, "-c", "raise SystemExit(3)"]) == 3


def test_interrupt_from_the_keyboard_waits_for_the_child():
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, start_new_session=True) as parent:
        assert parent.stdout.readline() == b"started\n"
        os.killpg(parent.pid, signal.SIGINT)  # a terminal sends it to the whole group
        assert parent.wait(timeout=20) == 7


def test_an_interrupt_at_the_very_start_waits_for_the_child(monkeypatch):
    class InterruptedAtOnce(subprocess.Popen):
        def __init__(self, arguments):
            super().__init__(arguments)
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(subprocess, "Popen", InterruptedAtOnce)
    assert run_and_wait([sys.executable, "-c", "raise SystemExit(7)"]) == 7
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_sigterm_is_passed_on_and_ends_the_parent_too():
    """A container's first process alone is told."""
    heard = "import signal, time; signal.signal(signal.SIGTERM, signal.default_int_handler)"
    child = CHILD.replace("import time", heard)
    parent = PARENT.replace(repr(CHILD), repr(child.replace("raise SystemExit(7)", "print('saved', flush=True)")))
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"started\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == b"saved\n"
        assert process.wait(timeout=20) == 130  # though the child ended well: what comes after it is not begun

"""SIGTERM, as Slurm, Kubernetes and `kill` send it: saves like Ctrl-C, and coming twice breaks nothing off."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pemt_tf.terminal.interruption import stopped_by_sigterm, uninterrupted

ROOT = Path(__file__).resolve().parents[2]
STOPPED_AT_STEP_3 = """
import os, signal, sys
from pathlib import Path
from pemt_tf.data.clip_source import ClipSource
from pemt_tf.training.window import Window
from tests.training.toy import run_toy

add, calls = Window.add, []
def stop(self, metrics):
    calls.append(1)
    if len(calls) == 3:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
    add(self, metrics)
Window.add = stop
try:
    run_toy(ClipSource.open(sys.argv[1]), Path(sys.argv[2]))
except KeyboardInterrupt:
    sys.exit(130)
"""


def test_training_saves(dataset_directory, tmp_path):
    command = [sys.executable, "-c", STOPPED_AT_STEP_3, str(dataset_directory), str(tmp_path / "run")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 130, done.stderr[-2000:]
    assert "stopped; the checkpoint of step 3 is saved" in done.stderr
    assert (tmp_path / "run/checkpoints/step-000000003.npz").is_file()


def test_it_is_an_interrupt_while_asked_for():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), stopped_by_sigterm():
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


def test_it_waits_for_the_end_of_a_block_however_often_it_comes():
    done = []
    with pytest.raises(KeyboardInterrupt), uninterrupted():
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        done.append("whole")
    assert done == ["whole"]

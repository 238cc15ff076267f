"""The tests of layers, losses, models and optimizers, golden tensors among them, on the GPU in full float32."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.gpu
ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("tests", ["tests/layers", "tests/losses", "tests/models", "tests/training/test_optimizers.py"])
def test_as_on_a_cpu(tests):
    """In a process of its own, because the libraries read this switch when they start: TF32 has 10 bits."""
    environment = {**os.environ, "NVIDIA_TF32_OVERRIDE": "0", "TF_FORCE_GPU_ALLOW_GROWTH": "true"}
    command = [sys.executable, "-m", "pytest", "-q", "--tb=line", tests]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stdout[-6000:]

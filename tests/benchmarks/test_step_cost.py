"""benchmarks/step_cost.py: the product's own step, counted by the paths of a GPU."""

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.mark.slow
def test_a_gpu_runs_fewer_kernels_than_single_operations_and_moves_fewer_bytes():
    found = {}
    for path in ("plain", "gpu"):
        command = [sys.executable, BENCHMARKS / "step_cost.py", "--small", "--row", path, "bfloat16"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        name, *figures = [cell.strip() for cell in done.stdout.strip().strip("|").split("|")]
        assert name == f"{path}, bfloat16"
        found[path] = [float(figure) for figure in figures]
    kernels, casts, gigabytes, _ = zip(found["gpu"], found["plain"], strict=True)
    assert kernels[0] < 0.5 * kernels[1] and casts[0] < casts[1] and gigabytes[0] < gigabytes[1]

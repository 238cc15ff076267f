"""Parts of a batch on two devices make the step of the whole batch on one: update, clipping, average, loss scale."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


pytestmark = pytest.mark.slow  # three trainings on two devices


@pytest.fixture(scope="module")
def report(dataset_directory, tmp_path_factory):
    folder = tmp_path_factory.mktemp("parts")
    command = [sys.executable, "-m", "tests.training.parts_over_devices", str(dataset_directory), str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads((folder / "report.json").read_text())


def test_weights_optimizer_and_average_are_the_same(report):
    assert max(report["differences"].values()) < 1e-5


def test_so_are_the_log_lines(report):
    """The norm of the whole gradient too, and which steps float16 skipped."""
    for name in ("two", "two_in_parts"):
        for mine, theirs in zip(report["rows"][name], report["rows"]["one"], strict=True):
            assert mine == pytest.approx(theirs, rel=1e-4)
    assert report["rows"]["one"][0]["skipped_steps"] > 0


def test_xla_is_refused_in_one_sentence(report):
    assert report["xla"].startswith("jit_compile does not work on 2 devices in step; use one device, or --set ")

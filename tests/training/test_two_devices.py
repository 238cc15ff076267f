"""Data parallelism, on two logical CPUs in a child process (`two_device_run`)."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def report(tmp_path_factory, dataset_directory):
    folder = tmp_path_factory.mktemp("two_devices")
    command = [sys.executable, "-m", "tests.training.two_device_run", str(dataset_directory), str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads((folder / "report.json").read_text())


def test_both_devices_are_used(report):
    assert report["devices"] == 2


@pytest.mark.parametrize("kind", ["pretrain", "finetune"])
def test_replicas_stay_equal(report, kind):
    """Bit for bit, weights, optimizer slots, batch-norm statistics and random state."""
    assert report[f"{kind}_replicas_differ"] == 0.0


def test_a_step_on_two_devices_is_the_step_on_one(report):
    """Every weight, running statistic, gradient average: batch norms see the global batch, gradients are averaged."""
    assert report["step"]["arrays"] > 200 and report["step"]["not_zero"] > 150
    assert report["step"]["largest"] < 1e-5
    for name in ("loss", "clip_loss", "sequence_loss", "accuracy"):
        assert report["two_metrics"][name] == pytest.approx(report["one_metrics"][name], abs=1e-5)


def test_pretraining_metrics_are_numbers(report):
    assert report["pretrain_metrics"]["step"] == 2
    assert all(math.isfinite(value) for value in report["pretrain_metrics"].values())


def test_uneven_batches_are_refused_before_anything_is_written(report):
    assert report["pretrain_uneven"] == (
        "a batch of 2 clips does not split over 2 devices into equal parts of at least 2; "
        "choose a multiple of 4 (--set pretrain.batch_size=...)"
    )
    assert report["finetune_uneven"] == (
        "a batch of 3 clips does not split over 2 devices into equal parts of at least 1; "
        "choose a multiple of 2 (--set finetune.batch_size=...)"
    )
    assert report["refused_runs_left_nothing"]

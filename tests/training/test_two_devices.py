"""Data parallelism, on two logical CPUs in a child process (`two_device_run`)."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SPEEDS = {"steps_per_second", "examples_per_second", "input_wait_share"}

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


@pytest.mark.parametrize(
    ("negatives", "one", "two"),
    [("own", "pretrain_one_with_groups", "pretrain"), ("gathered", "pretrain_one", "pretrain_gathered")],
)
def test_pretraining_on_two_devices_is_pretraining_on_one(report, negatives, one, two):
    """Every weight, running statistic, optimizer slot and random state after each of two steps, and every metric.

    Without gathering a device takes negatives from its own clips, which one device does too with two groups.
    """
    for differences in report[f"pretrain_{negatives}"]:
        assert differences["arrays"] > 200 and differences["not_zero"] > 150
        assert differences["largest"] < 1e-5
    ours, theirs = report[f"{two}_metrics"], report[f"{one}_metrics"]
    assert ours.keys() == theirs.keys()
    for name in ours.keys() - SPEEDS:
        assert ours[name] == pytest.approx(theirs[name], rel=1e-4, abs=1e-5), name


def test_which_negatives_are_taken_makes_a_difference_that_would_show(report):
    assert report["pretrain_own_or_gathered"][0]["largest"] > 1e-4


def test_pretraining_metrics_are_numbers(report):
    assert report["pretrain_metrics"]["step"] == 2
    assert all(math.isfinite(value) for value in report["pretrain_metrics"].values())


def test_groups_that_devices_would_share_are_refused(report):
    assert report["pretrain_groups"] == (
        "1 groups of negatives do not split over 2 devices; choose 0 or a multiple of 2 "
        "(--set pretrain.negative_groups=...), or --set pretrain.gather_negatives=true"
    )


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

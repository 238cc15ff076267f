"""Training on a GPU: where batches lie, one replica, mixed precision, XLA, and a resumed run."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from pemt_tf.training.pretrain import pretrain
from pemt_tf.training.strategy import distribute_clips
from tests.training.toy import logged, make_toy, run_toy, state

pytestmark = pytest.mark.gpu
ROOT = Path(__file__).resolve().parents[2]
PLAIN = {"dropout": 0.0, "checkpoint_every": 100}


def assert_near(mine, theirs):
    for a, b in zip(state(mine), state(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_batches_lie_on_the_gpu_before_the_step_asks_for_them(clip_source):
    task = make_toy(clip_source)
    batch = next(iter(distribute_clips(tf.distribute.get_strategy(), lambda: task.clips(0), task.settings)))
    assert "GPU:0" in batch["frames"].device and "GPU:0" in batch["log_mel"].device
    assert batch["id"].numpy()[0].startswith(b"fake-")


def test_the_log_says_what_was_chosen(clip_source, tmp_path, capsys):
    run_toy(clip_source, tmp_path / "run", **PLAIN)
    assert (
        "toy on 1 GPU, float32, XLA off, 8 steps per call, kernels for GPU: batch norm gpu" in capsys.readouterr().err
    )


def test_one_step_a_call_and_several_are_the_same_run(clip_source, tmp_path):
    (one, first), (many, second) = (
        run_toy(clip_source, tmp_path / str(most), steps_per_call=most, **PLAIN) for most in (1, 4)
    )
    assert_near(many, one)
    for mine, theirs in zip(logged(second), logged(first), strict=True):
        assert mine == pytest.approx(theirs, rel=1e-4)


def test_a_mirrored_strategy_of_one_device_is_no_strategy(clip_source, tmp_path):
    mirrored, _ = run_toy(clip_source, tmp_path / "mirrored", tf.distribute.MirroredStrategy(["GPU:0"]), **PLAIN)
    alone, _ = run_toy(clip_source, tmp_path / "alone", **PLAIN)
    assert_near(mirrored, alone)


def test_xla_gives_the_same_run(clip_source, tmp_path):
    fast, plain = (run_toy(clip_source, tmp_path / str(on), jit_compile=on, **PLAIN)[0] for on in (True, False))
    assert_near(fast, plain)


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision(clip_source, small_config, tmp_path, pretraining_run, precision):
    """Near float32 in its first log line, and its weights are float32."""
    config = small_config.with_overrides([f"pretrain.precision={precision}"])
    run = pretrain(config, clip_source, tmp_path / "run")
    mine, theirs = (each.metrics()[0]["loss"] for each in (run, pretraining_run))
    assert mine == pytest.approx(theirs, rel=0.1)
    assert {weight.dtype for weight in run.load_backbone().weights} <= {"float32", "uint32", "int64"}


def test_a_resumed_run_is_bit_for_bit_the_same_with_deterministic_operations(dataset_directory, tmp_path):
    """In a process of its own: determinism cannot be switched off again."""
    command = [sys.executable, "-m", "tests.gpu.resume_run", str(dataset_directory), str(tmp_path)]
    environment = {**os.environ, "TF_FORCE_GPU_ALLOW_GROWTH": "true"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]

"""Several steps in one call of TensorFlow: the same run as one by one, and what a GPU adds, on a CPU."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from pemt_tf.config.training import FinetuneConfig
from pemt_tf.data.input_pipeline import training_clips
from pemt_tf.device_choices import steps_per_call
from pemt_tf.errors import PemtError
from pemt_tf.training import loop, train_step
from pemt_tf.training.pretrain import pretrain
from tests.training.toy import logged, make_toy, run_toy, state

ROOT = Path(__file__).resolve().parents[2]
# Log lines after 4, 8 and 11 steps; average, clipping, best weights.
SETTINGS = {"checkpoint_every": 100, "ema": 0.9, "clip_norm": 0.5, "select": "best_validation", "validate_every": 8}


@pytest.fixture(scope="module")
def one_by_one(clip_source, tmp_path_factory):
    return run_toy(clip_source, tmp_path_factory.mktemp("toy") / "run", **SETTINGS)


@pytest.fixture
def calls(monkeypatch):
    """Number of steps of every call."""
    seen, original = [], train_step._WholeStep.several

    def several(self, steps, most):
        seen.append(len(steps))
        return original(self, steps, most)

    monkeypatch.setattr(train_step._WholeStep, "several", several)
    return seen


def assert_same(mine, theirs):
    for a, b in zip(state(mine[0]), state(theirs[0]), strict=True):
        np.testing.assert_array_equal(a, b)
    assert mine[0].notes() == theirs[0].notes()
    assert logged(mine[1]) == logged(theirs[1])


@pytest.mark.parametrize(("most", "expected"), [(3, [3, 1, 3, 1, 3]), (4, [4, 4, 3]), (8, [4, 4, 3])])
def test_bit_for_bit_the_run_of_single_steps(clip_source, tmp_path, one_by_one, calls, most, expected):
    """Weights, slots, average, best weights, random state, log lines; no call goes beyond a log line."""
    run = run_toy(clip_source, tmp_path / "run", steps_per_call=most, **SETTINGS)
    assert calls == expected
    assert_same(run, one_by_one)


def test_one_trace_serves_all_numbers_of_steps(clip_source):
    task = make_toy(clip_source, **SETTINGS)
    step = loop.make_train_step(task, tf.distribute.get_strategy())
    batches = [[batch] for batch in task.clips(0).take(3)]
    assert [len(step.several(batches[:count], 3)) for count in (3, 1, 2)] == [3, 1, 2]
    assert int(task.optimizer.iterations) == 6
    assert step._run_several.experimental_get_tracing_count() == step._run.experimental_get_tracing_count() == 1


def test_stopped_and_resumed_with_another_number_is_the_same_run(clip_source, tmp_path, monkeypatch, one_by_one):
    """Ctrl-C comes while the batches of the second call are gathered: the four steps before are saved."""
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        original = loop.read_batches

        def stopping(clips):
            for done, batch in enumerate(original(clips)):
                if done == 6:
                    raise KeyboardInterrupt
                yield batch

        patch.setattr(loop, "read_batches", stopping)
        run_toy(clip_source, tmp_path / "run", steps_per_call=4, **SETTINGS)
    assert [path.name for path in (tmp_path / "run/checkpoints").iterdir()] == ["step-000000004.npz"]
    assert_same(run_toy(clip_source, tmp_path / "run", steps_per_call=3, **SETTINGS), one_by_one)


def test_a_loss_that_is_no_number_stops_at_the_end_of_the_call(clip_source, tmp_path):
    """It is noticed up to steps_per_call - 1 steps late, names its own step and clips, and is not saved."""
    batches = [batch["id"].numpy().tolist() for batch in training_clips(clip_source, "train", 4, 0).take(7)]
    task = make_toy(clip_source, steps_per_call=4, checkpoint_every=4)
    usual = task.losses

    def losses(batch):
        bad = tf.where(task.optimizer.iterations.value == 6, np.inf, 0.0)  # in the seventh step
        return {**(values := usual(batch)), "loss": values["loss"] + bad}

    task.losses = losses
    ids = ", ".join(each.decode() for each in batches[6])
    expected = f"the loss of step 7 is inf; last good checkpoint: 4; clips of the batch: {ids}\\. Look"
    with pytest.raises(PemtError, match=expected):
        loop.train(task, loop.RunDirectory(tmp_path), tf.distribute.get_strategy())
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-000000004.npz"]


def test_a_second_ctrl_c_in_a_call_does_not_save_what_is_no_number(clip_source, tmp_path, monkeypatch, capsys):
    task = make_toy(clip_source, steps_per_call=4, checkpoint_every=4)
    original = train_step._WholeStep.several

    def interrupted(self, steps, most):
        if int(task.optimizer.iterations) == 4:
            original(self, steps, most)
            task.model.dense.kernel.assign(task.model.dense.kernel * np.nan)
            raise KeyboardInterrupt
        return original(self, steps, most)

    monkeypatch.setattr(train_step._WholeStep, "several", interrupted)
    with pytest.raises(KeyboardInterrupt):
        loop.train(task, loop.RunDirectory(tmp_path), tf.distribute.get_strategy())
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-000000004.npz"]
    assert "stopped; run the same command to continue from the last checkpoint" in capsys.readouterr().err


@pytest.mark.slow
def test_the_real_model_is_the_same_too(clip_source, small_config, tmp_path, pretraining_run):
    """Pretraining, with dropout, masks and negatives."""
    config = small_config.with_overrides(["pretrain.steps_per_call=2"])
    run = pretrain(config, clip_source, tmp_path / "run")
    assert run.weights_hash() == pretraining_run.weights_hash()
    assert logged(run) == logged(pretraining_run)


def test_with_xla(clip_source, tmp_path, calls):
    """The step is compiled, the loop around it is not."""
    settings = {"dropout": 0.0, "checkpoint_every": 100, "jit_compile": True}
    assert_same(
        run_toy(clip_source, tmp_path / "four", steps_per_call=4, **settings),
        run_toy(clip_source, tmp_path / "one", **settings),
    )
    assert calls == [4, 4, 3]


def test_what_a_gpu_chooses_gives_the_same_run_up_to_rounding(clip_source, tmp_path, calls, capsys):
    """Batches copied ahead, fused updates, several steps a call; compared with none of them."""
    fast = run_toy(clip_source, tmp_path / "gpu", **{**SETTINGS, "dropout": 0.0}, kernels="gpu")
    assert calls == [4, 4, 3]
    line = capsys.readouterr().err
    assert "XLA off, 8 steps per call, kernels for GPU: batch norm gpu kernels, frames images" in line
    assert "optimizer fused, batches ahead, transformer single operations\n" in line
    plain = run_toy(clip_source, tmp_path / "cpu", **{**SETTINGS, "dropout": 0.0}, kernels="plain")
    line = capsys.readouterr().err
    assert ", float32, XLA off, 1 step per call, kernels for any device: batch norm plain, frames video" in line
    assert "optimizer single operations, batches with the step, transformer single" in line
    for mine, theirs in zip(state(fast[0]), state(plain[0]), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-6)
    for mine, theirs in zip(logged(fast[1]), logged(plain[1]), strict=True):
        assert mine == pytest.approx(theirs, rel=1e-5)


def test_a_gpu_does_as_many_steps_as_have_room():
    """Eight, or as many batches as 256 MiB hold: a base clip has 10 x 32 x 112 x 112 x 3 bytes."""
    clip = 10 * 32 * 112 * 112 * 3
    settings = FinetuneConfig(kernels="gpu")
    assert [steps_per_call(settings, clips * clip) for clips in (1, 4, 8, 16, 64)] == [8, 5, 2, 1, 1]
    assert steps_per_call(FinetuneConfig(steps_per_call=20, kernels="gpu"), clip) == 20
    for alone in ({"precision": "mixed_float16"}, {"accumulation": 2, "batch_size": 4}):
        assert steps_per_call(FinetuneConfig(**alone, kernels="gpu"), clip) == 1


def test_a_cpu_does_one_step_a_call():
    assert steps_per_call(FinetuneConfig(kernels="cpu"), 1) == 1


@pytest.mark.parametrize("other", [{"accumulation": 2, "batch_size": 4}, {"precision": "mixed_float16"}])
def test_steps_that_come_back_to_python_refuse_more(other):
    with pytest.raises(PemtError, match=r"field finetune.steps_per_call is 2; allowed: 0 or 1 with accumulation or"):
        FinetuneConfig(steps_per_call=2, **other)


TWO_DEVICES = """
import sys
from pathlib import Path
import numpy as np
from pemt_tf.data.clip_source import ClipSource
from pemt_tf.training.strategy import make_strategy, split_cpu
split_cpu(2)
strategy = make_strategy()
from tests.training.toy import logged, run_toy, state
source, folder = ClipSource.open(sys.argv[1]), Path(sys.argv[2])
settings = {"checkpoint_every": 100, "ema": 0.9}
(one, first), (four, second) = (
    run_toy(source, folder / str(most), strategy, steps_per_call=most, **settings) for most in (1, 4))
assert strategy.num_replicas_in_sync == 2
for mine, theirs in zip(state(four), state(one), strict=True):
    np.testing.assert_array_equal(mine, theirs)
assert logged(first) == logged(second)
"""


@pytest.mark.slow
def test_on_two_devices(dataset_directory, tmp_path):
    command = [sys.executable, "-c", TWO_DEVICES, str(dataset_directory), str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "toy on 2 CPUs, float32, XLA off, 4 steps per call" in done.stderr

"""Options of the loop on the toy: parts of a batch, average, clipping, scale of float16, best weights, kill -9."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pemt_tf.errors import PemtError
from pemt_tf.terminal.interruption import uninterrupted
from pemt_tf.training import loop
from pemt_tf.training.best_weights import Score
from pemt_tf.training.loss_scale import LossScale
from tests.training.toy import ALL_ON, STEPS, logged, make_toy, run_toy, state

ROOT = Path(__file__).resolve().parents[2]
OVERFLOWS = 2.0**127  # times a gradient above 2, in float32: the first steps are skipped

KILLED_IN_STEP_8 = """
import os, signal, sys
from pathlib import Path
from pemt_tf.data.clip_source import ClipSource
from pemt_tf.training.window import Window
from tests.training.toy import ALL_ON, run_toy

add, calls = Window.add, []
def kill(self, metrics):
    calls.append(1)
    if len(calls) == 8:
        os.kill(os.getpid(), signal.SIGKILL)
    add(self, metrics)
Window.add = kill
run_toy(ClipSource.open(sys.argv[1]), Path(sys.argv[2]), first_scale=float(sys.argv[3]), **ALL_ON)
"""


@pytest.fixture(scope="module")
def all_on(clip_source, tmp_path_factory):
    return run_toy(clip_source, tmp_path_factory.mktemp("all") / "run", first_scale=OVERFLOWS, **ALL_ON)


def assert_same(mine, theirs):
    for a, b in zip(mine, theirs, strict=True):
        np.testing.assert_array_equal(a, b)


def test_killed_and_resumed_with_everything_on_is_bit_for_bit_the_same(
    all_on, clip_source, dataset_directory, tmp_path
):
    """Killed in step 8, of which 6 are on disk: average, loss scale, best weights, dropout, place in the data."""
    command = [sys.executable, "-c", KILLED_IN_STEP_8, str(dataset_directory), str(tmp_path / "run"), str(OVERFLOWS)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr[-3000:]
    task, run = run_toy(clip_source, tmp_path / "run", **ALL_ON)  # the scale comes from the checkpoint
    assert_same(state(task), state(all_on[0]))
    assert task.notes() == all_on[0].notes()
    assert logged(run) == logged(all_on[1])
    with (
        np.load(run.checkpoints / f"step-{STEPS:09d}.npz") as mine,
        np.load(all_on[1].checkpoints / f"step-{STEPS:09d}.npz") as theirs,
    ):
        assert_same([mine[name] for name in mine.files], [theirs[name] for name in theirs.files])


def test_log_lines_with_everything_on(all_on):
    """Skipped steps have no gradient norm; the scale is halved each time and then stays."""
    rows = all_on[1].metrics()
    training = [row for row in rows if "loss" in row]
    validation = [row for row in rows if "validation_loss" in row]
    assert [row["step"] for row in training] == [4, 8, 11]
    assert [row["step"] for row in validation] == [3, 6, 9, 11]
    skipped = sum(row["skipped_steps"] * n for row, n in zip(training, (4, 4, 3), strict=True))
    assert 1 <= skipped <= 8 and training[-1]["skipped_steps"] == 0.0
    value, good_steps = all_on[0].notes()["loss_scale"]
    assert value == OVERFLOWS / 2**skipped and 3 <= good_steps <= STEPS - skipped
    assert int(all_on[0].optimizer.iterations) == STEPS


def test_the_run_ends_with_the_best_validated_weights(all_on):
    task, run = all_on
    rows = [row for row in run.metrics() if "validation_loss" in row]
    best = max(rows, key=lambda row: (row["validation_accuracy"], -row["validation_loss"], -row["step"]))
    assert task.notes()["best"] == [best["step"], best["validation_accuracy"], best["validation_loss"]]
    assert task.validate()["validation_loss"] == best["validation_loss"]  # of the weights that the model has now


@pytest.mark.parametrize(
    ("score", "other", "better"),
    [
        (Score(2, 0.5, 1.0), None, True),
        (Score(2, 0.6, 9.0), Score(1, 0.5, 1.0), True),
        (Score(2, 0.5, 0.9), Score(1, 0.5, 1.0), True),
        (Score(2, 0.5, 1.0), Score(1, 0.5, 1.0), False),
        (Score(2, 0.4, 0.1), Score(1, 0.5, 1.0), False),
    ],
)
def test_higher_accuracy_then_lower_loss_then_earlier(score, other, better):
    assert score.better_than(other) is better


def test_parts_of_a_batch_make_the_step_of_the_whole(clip_source, tmp_path):
    """No dropout, and a loss that is a mean over clips: the same up to rounding, also with the norm clipped."""
    runs = [run_toy(clip_source, tmp_path / str(n), dropout=0.0, accumulation=n, clip_norm=0.3) for n in (1, 2, 4)]
    for task, run in runs[1:]:
        for mine, theirs in zip(state(task), state(runs[0][0]), strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-6)
        for mine, theirs in zip(logged(run), logged(runs[0][1]), strict=True):
            assert mine == pytest.approx(theirs, rel=1e-5)


def test_clipping_scales_the_whole_gradient(clip_source, tmp_path):
    """SGD without momentum's history moves by rate x 1.9 x gradient in its first step; the norm is cut to 0.25."""
    moves = []
    for norm in (0.0, 0.25):
        task = make_toy(clip_source, optimizer="sgd", clip_norm=norm, dropout=0.0)
        before = state(task)[0]
        step = loop.make_train_step(task, loop.tf.distribute.get_strategy())
        found = step([next(iter(task.clips(0)))])["gradient_norm"]
        moves.append((state(task)[0] - before, found))
    (free, norm), (clipped, same_norm) = moves
    assert norm == pytest.approx(same_norm) and norm > 0.25
    np.testing.assert_allclose(clipped, free * 0.25 / norm, rtol=1e-4, atol=1e-8)


def test_average_of_weights_follows_the_formula(clip_source, tmp_path):
    """Restated step by step: decay min(0.9, (1 + t) / (10 + t)); the run ends with the average."""
    seen = []
    task = make_toy(clip_source, ema=0.9)
    step = loop.make_train_step(task, loop.tf.distribute.get_strategy())
    average = [v.numpy().astype(np.float64) for v in task.model.weights]
    for number, batch in enumerate(task.clips(0).take(5)):
        step([batch])
        weights = [v.numpy() for v in task.model.weights]
        decay = min(0.9, (1 + number) / (10 + number))
        average = [decay * a + (1 - decay) * w for a, w in zip(average, weights, strict=True)]
        seen.append(weights)
    with task.averaged():
        for mine, expected in zip(task.model.weights, average, strict=True):
            np.testing.assert_allclose(mine.numpy(), expected, rtol=1e-5, atol=1e-6)
    assert_same([v.numpy() for v in task.model.weights], seen[-1])
    task.finish()
    np.testing.assert_allclose(task.model.weights[0].numpy(), average[0], rtol=1e-5, atol=1e-6)


def test_compiled_by_xla_the_numbers_are_the_same(clip_source, tmp_path):
    plain, fast = (run_toy(clip_source, tmp_path / str(x), dropout=0.0, jit_compile=x) for x in (False, True))
    for mine, theirs in zip(state(fast[0]), state(plain[0]), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-6)


def test_loss_scale_is_halved_at_once_and_doubled_after_two_thousand_good_steps():
    scale = LossScale(8.0)
    scale.update(False)
    assert (scale.value, scale.good_steps) == (4.0, 0)
    for _ in range(1999):
        scale.update(True)
    assert scale.value == 4.0
    scale.update(True)
    assert (scale.value, scale.good_steps) == (8.0, 0)


def test_a_gradient_that_overflows_at_scale_1_stops_the_run(clip_source, tmp_path):
    """The gradient of sqrt at 0 is infinite whatever the scale."""
    tf = loop.tf
    with pytest.raises(PemtError, match=r"the gradient norm of step \d+ is (nan|inf); last good"):
        run_toy(
            clip_source,
            tmp_path / "run",
            precision="mixed_float16",
            first_scale=4.0,
            loss=lambda model: tf.reduce_sum(tf.sqrt(tf.square(model.dense.bias))),
        )


def test_nothing_left_to_train(clip_source, monkeypatch):
    import tests.training.toy as toys

    class Frozen(toys.Toy):
        def build(self, input_shape=None):
            super().build()
            self.trainable = False

    monkeypatch.setattr(toys, "Toy", Frozen)
    with pytest.raises(PemtError, match="every part of the model is frozen"):
        make_toy(clip_source)


def test_ctrl_c_waits_for_the_end_of_the_block_a_second_one_does_not():
    done = []
    with pytest.raises(KeyboardInterrupt), uninterrupted():
        os.kill(os.getpid(), signal.SIGINT)
        done.append("first")
    with pytest.raises(KeyboardInterrupt), uninterrupted():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        done.append("never")
    assert done == ["first"]


def test_collapse_is_told_once_and_logged(clip_source, tmp_path, capsys, monkeypatch):
    """Spread 0.5, then 0.03: below a tenth of the first line, from step 8 on."""
    original = loop.make_train_step

    def with_spread(task, strategy):
        train_step = original(task, strategy)

        def step(batches):
            metrics = train_step(batches)
            return {**metrics, "audio_spread": 0.5 if int(task.optimizer.iterations) <= 4 else 0.03}

        return step

    monkeypatch.setattr(loop, "make_train_step", with_spread)
    _, run = run_toy(clip_source, tmp_path / "run")
    assert [row["audio_collapsed"] for row in run.metrics()] == [0.0, 1.0, 1.0]
    said = capsys.readouterr().err
    assert said.count("warning: tokens have collapsed at step 8") == 1 and "spread audio 0.0300" in said

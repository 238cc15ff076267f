"""The training loop on a model small enough to reason about: resume, log lines, NaN, TensorBoard."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from pemt_tf.data import records
from pemt_tf.data.clip_source import ClipSource
from pemt_tf.data.input_pipeline import training_clips
from pemt_tf.errors import PemtError
from pemt_tf.training import loop, plateau
from pemt_tf.training.run_directory import RunDirectory
from tests.fake_dataset import fake_clips, write_dataset
from tests.training.test_checkpoint import largest_file
from tests.training.toy import STEPS, logged, make_toy, run_toy, state


@pytest.fixture(scope="module")
def uninterrupted(clip_source, tmp_path_factory):
    return run_toy(clip_source, tmp_path_factory.mktemp("toy") / "run")


def interrupt(monkeypatch, where, call, error):
    """Makes the `call`-th call of a function of the loop raise `error` once."""
    original, calls = getattr(loop, where), []

    def function(*arguments, **more):
        calls.append(1)
        if len(calls) == call:
            raise error
        return original(*arguments, **more)

    monkeypatch.setattr(loop, where, function)


def assert_same_run(source, path, uninterrupted, metrics=True):
    resumed, run = run_toy(source, path)
    for mine, theirs in zip(state(resumed), state(uninterrupted[0]), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    if metrics:
        assert logged(run) == logged(uninterrupted[1])


@pytest.mark.parametrize("steps", [1, 3, 10])
def test_stopped_by_the_user_and_resumed_is_bit_for_bit_the_same(
    clip_source, tmp_path, monkeypatch, uninterrupted, steps, capsys
):
    """Also the logged means are the same, though the stop came between two log lines."""
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        original = loop.read_batches

        def stopping(clips):
            for done, batch in enumerate(original(clips)):
                if done == steps:
                    raise KeyboardInterrupt
                yield batch

        patch.setattr(loop, "read_batches", stopping)
        run_toy(clip_source, tmp_path / "run")
    assert (tmp_path / f"run/checkpoints/step-{steps:09d}.npz").is_file()
    assert (
        f"stopped; the checkpoint of step {steps} is saved, run the same command to continue" in capsys.readouterr().err
    )
    assert_same_run(clip_source, tmp_path / "run", uninterrupted)


def test_stopped_between_an_update_and_its_bookkeeping(clip_source, tmp_path, monkeypatch, uninterrupted):
    """The third update is done but not yet counted: doing it again would train on its clips twice."""
    original = loop.make_train_step

    def make_train_step(task, strategy):
        train_step = original(task, strategy)

        def interrupted(batches):
            metrics = train_step(batches)
            if int(task.optimizer.iterations) == 3:
                raise KeyboardInterrupt
            return metrics

        return interrupted

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(loop, "make_train_step", make_train_step)
        run_toy(clip_source, tmp_path / "run")
    assert (tmp_path / "run/checkpoints/step-000000003.npz").is_file()
    assert_same_run(clip_source, tmp_path / "run", uninterrupted, metrics=False)


@pytest.mark.parametrize("call", [1, 2])
def test_killed_while_logging_and_resumed_is_bit_for_bit_the_same(
    clip_source, tmp_path, monkeypatch, uninterrupted, call
):
    """SystemExit is not handled: nothing is saved on the way out, as when the process is killed."""
    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        interrupt(patch, "collapse_alarms", call, SystemExit())
        run_toy(clip_source, tmp_path / "run")
    with (tmp_path / "run/metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "lo')  # the line it was writing
    assert_same_run(clip_source, tmp_path / "run", uninterrupted)


def test_a_finished_run_does_nothing_more(clip_source, tmp_path, uninterrupted):
    _, run = run_toy(clip_source, tmp_path / "run")
    before = run.metrics()
    assert_same_run(clip_source, tmp_path / "run", uninterrupted)
    assert run.metrics() == before


def test_more_steps_of_a_finished_run_are_those_of_a_longer_one(clip_source, tmp_path, uninterrupted, capsys):
    """The toy's learning rate does not follow from its number of steps."""
    run_toy(clip_source, tmp_path / "run", steps=6)
    assert_same_run(clip_source, tmp_path / "run", uninterrupted, metrics=False)
    rate = 0.005 * (1 + np.cos(np.pi * 7 / STEPS))
    assert (
        f"toy continues after step 6: learning rate {rate:.3g}, schedule cosine over 11 steps"
        in capsys.readouterr().err
    )


def test_log_lines_are_means_over_the_steps_since_the_last(clip_source, tmp_path, uninterrupted):
    every_step = logged(run_toy(clip_source, tmp_path / "run", log_every=1)[1])
    rows = logged(uninterrupted[1])
    assert [row["step"] for row in rows] == [4, 8, 11]
    for row, first, last in zip(rows, (0, 4, 8), (4, 8, 11), strict=True):
        for name in ("loss", "size", "gradient_norm"):
            assert row[name] == pytest.approx(np.mean([r[name] for r in every_step[first:last]]), rel=1e-12)


def test_a_plateau_is_told_once(clip_source, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(plateau, "SHORTEST", STEPS)
    task = make_toy(clip_source, log_every=2)
    usual = task.losses
    task.losses = lambda batch: {**usual(batch), "mep_visual_context": tf.constant(4.8)}
    run = RunDirectory(tmp_path)

    loop.train(task, run, tf.distribute.get_strategy())

    said = capsys.readouterr().err
    assert said.count("nothing is learned yet") == 1 and "nothing is learned yet at step 6 of 11" in said


def test_logged_rate_is_the_one_that_was_used(clip_source, uninterrupted):
    """Cosine over 11 steps, counted from 1, peak 0.01: the last one is 0."""
    rates = {row["step"]: row["learning_rate"] for row in uninterrupted[1].metrics()}
    expected = {step: 0.005 * (1 + np.cos(np.pi * step / STEPS)) for step in (4, 8, 11)}
    assert rates == pytest.approx(expected, abs=1e-8)


def test_tensorboard_has_every_logged_number(uninterrupted):
    _, run = uninterrupted
    events = EventAccumulator(str(run.tensorboard))
    events.Reload()
    rows = run.metrics()
    assert {tag.partition("/")[2] for tag in events.Tags()["tensors"]} == set(rows[0]) - {"step"}
    for tag in ("loss/loss", "other/size", "optimizer/gradient_norm", "optimizer/learning_rate"):
        name = tag.partition("/")[2]
        found = {event.step: tf.make_ndarray(event.tensor_proto).item() for event in events.Tensors(tag)}
        assert found == pytest.approx({row["step"]: row[name] for row in rows}, rel=1e-6)


def test_gradient_norm_is_that_of_the_loss(clip_source, tmp_path):
    """Loss 3 w_0 + 4 w_1 + ... has a constant gradient."""
    weights = np.zeros((16, 1), np.float32)
    weights[:2, 0] = 3.0, 4.0
    _, run = run_toy(clip_source, tmp_path / "run", loss=lambda model: tf.reduce_sum(model.dense.kernel * weights))
    assert [row["gradient_norm"] for row in run.metrics()] == pytest.approx([5.0, 5.0, 5.0])


def poisoned(tmp_path, geometry, number):
    """12 clips, one of them with a spectrogram that is no numbers."""
    clips = fake_clips(geometry, 12)
    clips[number].log_mel[1] = np.nan  # all bins, so that dropout cannot hide it
    return ClipSource.open(write_dataset(tmp_path / "data", geometry, {"train": clips}))


def test_nan_names_the_clips_and_keeps_the_last_good_checkpoint(tmp_path, small_config):
    source = poisoned(tmp_path, small_config.geometry, number=3)
    for seed in range(20):  # one of them shows the clip in the third batch
        keras.utils.set_random_seed(seed)
        batches = [b["id"].numpy().tolist() for b in training_clips(source, "train", 4, seed).take(3)]
        if b"fake-000003" in batches[2]:
            break
    ids = ", ".join(i.decode() for i in batches[2])
    expected = f"^the loss of step 3 is nan; last good checkpoint: 2; clips of the batch: {ids}\\. Look at"
    with pytest.raises(PemtError, match=expected):
        run_toy(source, tmp_path / "run", seed=seed, checkpoint_every=1)
    folder = tmp_path / "run/checkpoints"
    assert sorted(p.name for p in folder.iterdir()) == ["step-000000001.npz", "step-000000002.npz"]
    with np.load(folder / "step-000000002.npz") as archive:
        assert all(np.isfinite(archive[name]).all() for name in archive.files if name != "notes")


def test_nan_before_the_first_checkpoint(clip_source, tmp_path):
    with pytest.raises(PemtError, match="the loss of step 1 is inf; last good checkpoint: none"):
        run_toy(clip_source, tmp_path / "run", loss=lambda model: tf.reduce_sum(model.dense.kernel) + np.inf)


def test_a_gradient_that_is_no_number_is_caught_before_it_is_saved(clip_source, tmp_path):
    """sqrt(0) is finite, its gradient is not: the loss would show it one step, and one checkpoint, too late."""
    with pytest.raises(PemtError, match=r"the gradient norm of step 1 is (nan|inf); last good checkpoint: none"):
        run_toy(
            clip_source,
            tmp_path / "run",
            checkpoint_every=1,
            loss=lambda model: tf.reduce_sum(tf.sqrt(tf.square(model.dense.bias))),
        )
    assert not (tmp_path / "run/checkpoints").exists()


def test_nan_names_the_clips_of_all_parts_of_a_batch(clip_source, tmp_path):
    batches = training_clips(clip_source, "train", 2, 0).take(2)
    with pytest.raises(PemtError, match="the loss of step 1 is inf; last good checkpoint: none") as error:
        run_toy(
            clip_source,
            tmp_path / "run",
            accumulation=2,
            loss=lambda model: tf.reduce_sum(model.dense.kernel) + np.inf,
        )
    assert all(i.decode() in str(error.value) for batch in batches for i in batch["id"].numpy())
    assert str(error.value).count("fake-") == 4


def test_a_damaged_record_is_one_sentence(tmp_path, small_config):
    clips = fake_clips(small_config.geometry, 4)
    broken = [records.ClipRecord(**{**vars(clips[1]), "jpegs": [b"no JPEG"] * 6}), clips[0], clips[2], clips[3]]
    source = ClipSource.open(write_dataset(tmp_path / "data", small_config.geometry, {"train": broken}))
    with pytest.raises(PemtError, match=r"^the clips cannot be read "):
        run_toy(source, tmp_path / "run")


def test_a_disk_that_fills_up_while_logging(clip_source, tmp_path):
    run = RunDirectory(tmp_path)
    run.append_metrics({"step": 1, "loss": 0.5})
    with largest_file(30), pytest.raises(PemtError, match=r"cannot write to .*: File too large; free some space"):
        run.append_metrics({"step": 2, "loss": 0.25})
    assert run.metrics() == [{"step": 1, "loss": 0.5}]
    run.forget_metrics_after(5)
    assert json.loads((tmp_path / "metrics.jsonl").read_text()) == {"step": 1, "loss": 0.5}

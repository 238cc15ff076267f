"""The folder of a run: refuses what is not the same run, and says when it is not finished or damaged."""

import dataclasses
import json
import re
import shutil

import numpy as np
import pytest

from pemt_tf.errors import PemtError
from pemt_tf.models.av_transformer import AVTransformer
from pemt_tf.training.run_directory import RunDirectory
from tests.training.test_checkpoint import largest_file


def started(path, config):
    run = RunDirectory(path / "run")
    run.start(config, {"kind": "pretrain", "data": "there", "data_hash": "ab"})
    return run


def test_the_same_question_goes_on(tmp_path, small_config):
    run = started(tmp_path, small_config)
    started(tmp_path, small_config)
    assert run.config() == small_config
    assert run.description() == {"kind": "pretrain", "data": "there", "data_hash": "ab"}
    assert not run.finished


@pytest.mark.parametrize(
    ("assignment", "named"),
    [
        ("model.rank=4", "model.rank: 6 there, 4 asked"),
        ("pretrain.seed=9", "pretrain.seed: 0 there, 9 asked"),
        ("geometry.train_scale=[20, 24]", "geometry.train_scale: [16, 24] there, [20, 24] asked"),
    ],
)
def test_another_configuration_is_refused_by_name(tmp_path, small_config, assignment, named):
    started(tmp_path, small_config)
    with pytest.raises(PemtError, match=re.escape(f"holds another run ({named}); choose another --output or delete")):
        started(tmp_path, small_config.with_overrides([assignment]))


@pytest.mark.parametrize("field", ["keep", "log_every", "checkpoint_every", "images_every", "steps_per_call"])
def test_what_does_not_touch_the_weights_may_change(tmp_path, small_config, field):
    changed = small_config.with_overrides([f"pretrain.{field}=5", "finetune.batch_size=7"])
    started(tmp_path, small_config)
    assert started(tmp_path, changed).config() == changed


def test_data_that_were_moved_are_the_same_data(tmp_path, small_config):
    run = started(tmp_path, small_config)
    run.start(small_config, {"kind": "pretrain", "data": "elsewhere", "data_hash": "ab"})
    assert run.description()["data"] == "elsewhere"


def test_fewer_steps_are_refused(tmp_path, small_config):
    started(tmp_path, small_config)
    with pytest.raises(
        PemtError, match=r"\(pretrain\.steps: 4 there, 3 asked\).*pretrain\.steps may grow, but not fall"
    ):
        started(tmp_path, small_config.with_overrides(["pretrain.steps=3"]))


def test_more_steps_of_a_finished_run(pretraining_run, small_config, tmp_path):
    """What was made of the weights of before stays with them; it says nothing about those to come."""
    run = RunDirectory(shutil.copytree(pretraining_run.path, tmp_path / "run"))
    (run.path / "probe-test.json").write_text("{}")
    more = small_config.with_overrides(["pretrain.steps=6"])
    run.start(more, pretraining_run.description())
    assert not run.finished and run.config() == more
    assert not (run.path / "probe-test.json").exists() and run.metrics() == pretraining_run.metrics()
    before = RunDirectory(run.path / "until-step-4")
    assert before.finished and before.config() == small_config and (before.path / "probe-test.json").exists()
    assert before.weights_hash() == pretraining_run.weights_hash()


def test_more_steps_need_the_last_checkpoint(pretraining_run, small_config, tmp_path):
    run = RunDirectory(shutil.copytree(pretraining_run.path, tmp_path / "run"))
    (run.checkpoints / "step-000000004.npz").unlink()
    with pytest.raises(
        PemtError, match=r"cannot continue: its checkpoint of step 4 is gone; begin another run with --init"
    ):
        run.start(small_config.with_overrides(["pretrain.steps=6"]), pretraining_run.description())
    assert run.finished


def test_one_training_at_a_time(tmp_path, pretraining_run):
    run = RunDirectory(tmp_path / "run")
    with run.alone():
        refused = r"another training is under way in .*run \(process \d+ on .*\); wait"
        with pytest.raises(PemtError, match=refused), RunDirectory(tmp_path / "run").alone():
            pass
        with RunDirectory(tmp_path / "run", writes=False).alone():  # another worker of the same training
            pass
    with run.alone():
        pass
    assert not list(run.path.iterdir())


def test_other_data_is_refused_by_name(tmp_path, small_config):
    run = started(tmp_path, small_config)
    with pytest.raises(PemtError, match=r"\(data_hash: ab there, cd asked\)"):
        run.start(small_config, {"kind": "pretrain", "data": "there", "data_hash": "cd"})
    with pytest.raises(PemtError, match=r"\(kind: pretrain there, finetune asked; labels: None there, \['x'\] asked\)"):
        run.start(small_config, {"kind": "finetune", "labels": ["x"], "data": "there", "data_hash": "ab"})


def test_a_folder_that_is_no_run(tmp_path):
    for call in (
        RunDirectory(tmp_path).description,
        RunDirectory(tmp_path).config,
        RunDirectory(tmp_path).load_backbone,
    ):
        with pytest.raises(PemtError, match=r"is not a training run: it has no run\.json; give the --output of"):
            call()


def test_a_run_that_has_not_finished(tmp_path, small_config):
    run = started(tmp_path, small_config)
    for call in (run.require_finished, run.load_backbone, run.load_classifier):
        with pytest.raises(PemtError, match=r"is not finished: it has no backbone\.weights\.h5; run its training"):
            call()


@pytest.mark.parametrize(("name", "message"), [("run.json", "is damaged"), ("config.json", "cannot read the conf")])
def test_damaged_files_are_named(tmp_path, small_config, name, message):
    run = started(tmp_path, small_config)
    (run.path / name).write_text('{"kind": ')
    with pytest.raises(PemtError, match=message) as error:
        run.config()
    assert str(run.path / name) in str(error.value)


def test_an_output_that_cannot_be_a_folder(tmp_path, small_config):
    (tmp_path / "run").write_text("in the way")
    with pytest.raises(PemtError, match=r"cannot write to .*run: File exists; free some space, or choose another"):
        started(tmp_path, small_config)


def test_a_full_disk_at_the_start_leaves_no_run(tmp_path, small_config):
    with largest_file(50), pytest.raises(PemtError, match=r"cannot write to .*: File too large"):
        started(tmp_path, small_config)
    assert not (tmp_path / "run/run.json").exists()
    started(tmp_path, small_config)


def test_a_full_disk_at_the_end_leaves_the_run_unfinished(tmp_path, small_config):
    run = started(tmp_path, small_config)
    backbone = AVTransformer(small_config.model)
    backbone.build()
    with largest_file(20_000), pytest.raises(PemtError, match="cannot write to "):
        run.save_model(backbone)
    assert not run.finished
    assert not list(run.path.glob("*.h5"))
    run.save_model(backbone)
    loaded = run.load_backbone()
    for mine, theirs in zip(loaded.get_weights(), backbone.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_metrics(tmp_path):
    run = RunDirectory(tmp_path)
    assert run.metrics() == []
    for step in (1, 2, 3):
        run.append_metrics({"step": step, "loss": 1 / step})
    run.forget_metrics_after(2)
    assert run.metrics() == [{"step": 1, "loss": 1.0}, {"step": 2, "loss": 0.5}]
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 3, "lo')
    assert [row["step"] for row in run.metrics()] == [1, 2]
    run.forget_metrics_after(9)
    run.append_metrics({"step": 3, "loss": 0.0})
    assert [json.loads(line)["step"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()] == [1, 2, 3]


def test_finished_runs(pretraining_run, finetuning_run, small_config):
    assert pretraining_run.finished and finetuning_run.finished
    model, labels = finetuning_run.load_classifier()
    assert labels == ("label0", "label1", "label2") and model.classes == 3
    for mine, theirs in zip(model.backbone.get_weights(), finetuning_run.load_backbone().get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    with pytest.raises(PemtError, match="holds no classifier; give the --output of `pemt finetune`"):
        pretraining_run.load_classifier()
    leftovers = [p.name for run in (pretraining_run, finetuning_run) for p in run.path.iterdir() if "partial" in p.name]
    assert not leftovers


def test_a_backbone_of_another_model_is_refused(pretraining_run, small_config):
    other = AVTransformer(dataclasses.replace(small_config.model, rank=4, attention_dropout=0.5))
    other.build()
    with pytest.raises(PemtError, match=re.escape("was trained with another model (rank: 6 there, 4 here)")):
        pretraining_run.load_backbone_into(other)


def test_a_run_can_be_moved(pretraining_run, tmp_path):
    copy = RunDirectory(shutil.copytree(pretraining_run.path, tmp_path / "moved"))
    for mine, theirs in zip(
        copy.load_backbone().get_weights(), pretraining_run.load_backbone().get_weights(), strict=True
    ):
        np.testing.assert_array_equal(mine, theirs)


def test_metrics_that_are_not_numbers_are_null(tmp_path):
    """JSON has no NaN; whoever reads the rows gets only numbers."""
    run = RunDirectory(tmp_path)
    run.append_metrics({"step": 1, "loss": 0.5, "gradient_norm": float("inf"), "accuracy": float("nan")})
    (line,) = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert json.loads(line, parse_constant=pytest.fail) == {
        "step": 1,
        "loss": 0.5,
        "gradient_norm": None,
        "accuracy": None,
    }
    assert run.metrics() == [{"step": 1, "loss": 0.5}]
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 2, "loss": NaN}\n')  # as older releases wrote
    run.forget_metrics_after(2)
    assert "NaN" not in (tmp_path / "metrics.jsonl").read_text()

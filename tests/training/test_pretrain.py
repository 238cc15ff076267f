"""Pretraining runs of the real model."""

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from pemt_tf.data.clip_source import ClipSource
from pemt_tf.errors import PemtError
from pemt_tf.training import loop
from pemt_tf.training.pretrain import pretrain
from tests.fake_dataset import fake_clips, write_dataset

ROOT = Path(__file__).resolve().parents[2]

# Of a log line, what must not differ between two runs: all but the speed.
WALL_CLOCK = {"examples_per_second", "input_wait_share"}

KILLED_AT_STEP_3 = """
import os, signal, sys
from pemt_tf.config import Config
from pemt_tf.data.clip_source import ClipSource
from pemt_tf.terminal.progress import Progress
from pemt_tf.training.pretrain import pretrain
from tests.conftest import SMALL

update = Progress.update
def kill(self, done, detail=""):
    update(self, done, detail)
    if done == 3:
        os.kill(os.getpid(), signal.SIGKILL)
Progress.update = kill
pretrain(Config.from_dict(SMALL), ClipSource.open(sys.argv[1]), sys.argv[2])
"""


def logged(run):
    return [{name: value for name, value in row.items() if name not in WALL_CLOCK} for row in run.metrics()]


def test_what_a_run_leaves(pretraining_run, small_config):
    names = {path.name for path in pretraining_run.path.iterdir()}
    files = {"config.json", "run.json", "metrics.jsonl", "pair_classifiers.npz", "backbone.weights.h5"}
    assert names == files | {"checkpoints", "tensorboard"}
    assert [path.name for path in sorted(pretraining_run.checkpoints.iterdir())] == [
        "step-000000002.npz",
        "step-000000004.npz",
    ]
    rows = pretraining_run.metrics()
    assert [row["step"] for row in rows] == [2, 4]
    terms = [f"mep_{m}_{stage}" for m in ("visual", "audio") for stage in ("context", "joint")] + ["cpp"]
    for row in rows:
        assert row["loss"] == pytest.approx(sum(row[term] for term in terms), rel=1e-5)


def test_tensorboard_shows_the_first_batch_and_every_number(pretraining_run):
    events = EventAccumulator(str(pretraining_run.tensorboard))
    events.Reload()
    shown = {tag: [event.step for event in events.Tensors(tag)] for tag in events.Tags()["tensors"]}
    assert shown.pop("clips/frames") == shown.pop("clips/log_mel") == [1]
    assert shown.pop("_hparams_/session_start_info") == [0]
    assert {tag.partition("/")[2] for tag in shown} == set(pretraining_run.metrics()[0]) - {"step"}
    named = {"accuracy/mep_accuracy", "accuracy/cpp_accuracy", "loss/loss", "loss/cpp", "loss/mep_audio_joint"}
    named |= {"collapse/visual_spread", "collapse/audio_collapsed", "optimizer/learning_rate"}
    named |= {"collapse/audio_rank", "collapse/logit_std", "optimizer/visual_cnn_gradient_norm"}
    assert named | {"optimizer/gradient_norm", "speed/examples_per_second", "speed/input_wait_share"} <= set(shown)


def test_tensorboard_shows_hyperparameters(pretraining_run):
    """As the HPARAMS tab reads them: fields of the configuration by their full names."""
    events = EventAccumulator(str(pretraining_run.tensorboard))
    events.Reload()
    content = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    values = HParamsPluginData.FromString(content).session_start_info.hparams
    assert values["pretrain.learning_rate"].number_value == 1e-3 and values["model.rank"].number_value == 6
    assert values["preset"].string_value == "small" and values["pretrain.optimizer"].string_value == "adamw"
    assert values["geometry.train_scale"].string_value == "16 24" and not values["model.remat"].bool_value
    assert not any(name.startswith("finetune.") for name in values)


def test_a_finished_run_is_not_repeated(pretraining_run, small_config, clip_source, monkeypatch, capsys):
    monkeypatch.setattr(loop, "train", None)  # calling it would fail
    assert pretrain(small_config, clip_source, pretraining_run.path) == pretraining_run
    said = capsys.readouterr().err
    assert f"{pretraining_run.path} is finished: it has its 4 steps" in said and "--set pretrain.steps=N" in said


def test_starts_from_another_runs_backbone(pretraining_run, small_config, clip_source, monkeypatch, tmp_path):
    tasks = []
    monkeypatch.setattr(loop, "train", lambda task, run, strategy: tasks.append(task))
    run = pretrain(small_config, clip_source, tmp_path / "run", initial=pretraining_run)
    weights = tasks[0].model.backbone.get_weights()
    for mine, theirs in zip(weights, pretraining_run.load_backbone().get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert run.description()["initial"] == str(pretraining_run.path)
    other = small_config.with_overrides(["model.rank=4"])
    with pytest.raises(PemtError, match="was trained with another model"):
        pretrain(other, clip_source, tmp_path / "other", initial=pretraining_run)


def test_another_question_in_the_same_folder_is_refused(pretraining_run, small_config, clip_source):
    other = small_config.with_overrides(["pretrain.learning_rate=0.5"])
    with pytest.raises(PemtError, match=r"\(pretrain\.learning_rate: 0\.001 there, 0\.5 asked\)"):
        pretrain(other, clip_source, pretraining_run.path)


def test_another_geometry_is_refused_before_anything_is_written(small_config, clip_source, tmp_path):
    other = small_config.with_overrides(["geometry.segments=2"])
    with pytest.raises(PemtError, match="segments: 2 here, 3 there"):
        pretrain(other, clip_source, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_no_clip_with_both_streams(small_config, tmp_path):
    clips = fake_clips(small_config.geometry, 8)[5:8]
    source = ClipSource.open(write_dataset(tmp_path / "data", small_config.geometry, {"train": clips}))
    with pytest.raises(PemtError, match="holds no clip with video and audio"):
        pretrain(small_config, source, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("modality", ["visual", "audio"])
def test_a_model_of_one_modality_sees_only_clips_that_have_it(
    small_config, clip_source, tmp_path, monkeypatch, modality
):
    """Zeros in place of a missing stream must never be learned from."""
    tasks = []
    monkeypatch.setattr(loop, "train", lambda task, run, strategy: tasks.append(task))
    config = small_config.with_overrides([f"model.modalities=[{modality}]"])
    pretrain(config, clip_source, tmp_path / "run")
    seen = [i for batch in tasks[0].clips(0).take(6) for i in batch["id"].numpy()]
    missing = {"visual": {b"fake-000005", b"fake-000007"}, "audio": {b"fake-000006", b"fake-000007"}}[modality]
    assert len(set(seen)) == 10 and not missing & set(seen)


def test_optimizer_is_the_papers(small_config, clip_source, tmp_path, monkeypatch):
    tasks = []
    monkeypatch.setattr(loop, "train", lambda task, run, strategy: tasks.append(task))
    pretrain(small_config, clip_source, tmp_path / "run")
    optimizer = tasks[0].optimizer
    settings = (optimizer.beta_1, optimizer.beta_2, optimizer.epsilon, optimizer.default_weight_decay)
    assert settings == (0.9, 0.98, 1e-6, 1e-4)
    assert optimizer.decoupled and optimizer.amsgrad and not optimizer.groups


@pytest.mark.slow
def test_killed_and_resumed_is_bit_for_bit_the_uninterrupted_run(
    pretraining_run, small_config, clip_source, dataset_directory, tmp_path
):
    """Another process, killed after step 3, of which step 2 is on disk; then this one goes on."""
    command = [sys.executable, "-c", KILLED_AT_STEP_3, str(dataset_directory), str(tmp_path / "run")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr[-3000:]
    assert [path.name for path in (tmp_path / "run/checkpoints").iterdir()] == ["step-000000002.npz"]

    resumed = pretrain(small_config, clip_source, tmp_path / "run")
    with (
        np.load(resumed.checkpoints / "step-000000004.npz") as mine,
        np.load(pretraining_run.checkpoints / "step-000000004.npz") as theirs,
    ):
        assert mine.files == theirs.files
        for name in mine.files:
            np.testing.assert_array_equal(mine[name], theirs[name])
    for mine, theirs in zip(
        resumed.load_backbone().get_weights(), pretraining_run.load_backbone().get_weights(), strict=True
    ):
        np.testing.assert_array_equal(mine, theirs)
    assert logged(resumed) == logged(pretraining_run)


@pytest.mark.slow
def test_kernels_of_a_gpu_can_be_forced(clip_source, small_config, tmp_path, pretraining_run, capsys):
    """The log says so, and the first step has the metrics of the CPU's kernels, up to rounding."""
    config = small_config.with_overrides(["pretrain.kernels=gpu", "pretrain.log_every=1", "pretrain.steps=1"])
    run = pretrain(config, clip_source, tmp_path / "run")
    assert "per call, kernels for GPU: batch norm gpu kernels, frames images" in capsys.readouterr().err
    assert logged(run)[0]["loss"] == pytest.approx(logged(pretraining_run)[0]["loss"], rel=1e-3)

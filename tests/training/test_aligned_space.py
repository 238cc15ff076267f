"""The aligned space in a run's folder: what a training writes and logs, and what a run that starts from it keeps."""

import dataclasses

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from pemt_tf.errors import PemtError
from pemt_tf.models.weight_files import load_aligned_space
from pemt_tf.training import loop
from pemt_tf.training.finetune import finetune
from pemt_tf.training.pretrain import pretrain
from pemt_tf.training.run_directory import RunDirectory
from tests.training.small_cnns import use_small_cnns

NOTE = "is left out, because its backbone is trained further"


def test_a_pretraining_learns_logs_and_keeps_it(small_config, clip_source, tmp_path, monkeypatch):
    use_small_cnns(monkeypatch.setattr)
    config = small_config.with_overrides(["pretrain.alignment_weight=0.5", "pretrain.steps=2", "pretrain.log_every=1"])
    run = pretrain(config, clip_source, tmp_path / "run")
    rows = run.metrics()
    assert [row["step"] for row in rows] == [1, 2]
    for row in rows:
        terms = sum(value for name, value in row.items() if name.startswith("mep_") and name != "mep_accuracy")
        assert row["loss"] == pytest.approx(terms + row["cpp"] + 0.5 * row["alignment"], rel=1e-5)
        assert 0 <= row["alignment_accuracy"] <= 1
    assert rows[0]["alignment_temperature"] == pytest.approx(0.07, rel=1e-5)
    assert rows[1]["alignment_temperature"] != rows[0]["alignment_temperature"]
    events = EventAccumulator(str(run.tensorboard))
    events.Reload()
    tags = {"loss/alignment", "accuracy/alignment_accuracy", "optimizer/alignment_temperature"}
    assert tags <= set(events.Tags()["tensors"])
    space = run.load_aligned_space()
    assert space is not None and (space.hidden, space.width) == (16, 128)
    with np.load(run.checkpoints / "step-000000002.npz") as arrays:  # the weights of the last step
        kernels = [arrays[name] for name in arrays.files if arrays[name].shape == (16, 128)]
    for modality in ("visual", "audio"):
        assert any(np.array_equal(space.projections[modality].kernel, kernel) for kernel in kernels)


@pytest.fixture
def without_training(monkeypatch):
    """Runs end as they begin."""
    monkeypatch.setattr(loop, "train", lambda task, run, strategy: None)


@pytest.mark.parametrize(
    ("command", "settings", "kept"),
    [
        ("finetune", [], False),
        ("finetune", ["finetune.finetune_learning_rate=0"], True),
        ("finetune", ["finetune.frozen=[backbone]"], True),
        ("finetune", ["finetune.frozen=[visual_cnn,tokens]"], False),
        ("pretrain", ["pretrain.alignment_weight=0"], False),
        ("pretrain", ["pretrain.alignment_weight=0", "pretrain.frozen=[backbone]"], True),
    ],
)
@pytest.mark.usefixtures("without_training")
def test_a_run_keeps_it_if_the_backbone_stays(aligned_run, clip_source, tmp_path, capsys, command, settings, kept):
    config = aligned_run.config().with_overrides(settings)
    start = {"finetune": finetune, "pretrain": pretrain}[command]
    run = start(config, clip_source, tmp_path / "run", initial=aligned_run)
    said = capsys.readouterr().err
    if kept:
        file, source = (each.path / "aligned_space.npz" for each in (run, aligned_run))
        assert file.read_bytes() == source.read_bytes() and NOTE not in said
    else:
        assert run.load_aligned_space() is None
        assert f"note: the aligned space of {aligned_run.path} {NOTE}" in said


@pytest.mark.usefixtures("without_training")
def test_a_pretraining_with_alignment_begins_its_own(aligned_run, clip_source, tmp_path, capsys):
    run = pretrain(aligned_run.config(), clip_source, tmp_path / "run", initial=aligned_run)
    mine, theirs = (load_aligned_space(each.path / "aligned_space.npz") for each in (run, aligned_run))
    assert mine.width == theirs.width == 6
    assert not np.array_equal(mine.projections["visual"].kernel, theirs.projections["visual"].kernel)
    assert NOTE not in capsys.readouterr().err


def test_a_damaged_file_is_one_line(aligned_run, tmp_path):
    run = RunDirectory(tmp_path)
    for name in ("run.json", "backbone.weights.h5"):
        (tmp_path / name).write_text("{}")
    for content in (b"", b"not a file of arrays", (aligned_run.path / "aligned_space.npz").read_bytes()[:300]):
        (tmp_path / "aligned_space.npz").write_bytes(content)
        with pytest.raises(PemtError, match=r"aligned_space\.npz is damaged \(.*\); copy it again, or train again"):
            run.load_aligned_space()
    np.savez(tmp_path / "aligned_space.npz", log_scale=np.ones(()))
    with pytest.raises(PemtError, match="is damaged"):
        run.load_aligned_space()
    (tmp_path / "aligned_space.npz").unlink()
    assert run.load_aligned_space() is None


def test_its_settings_are_those_of_the_run(aligned_run):
    """They belong to pretraining: a run cannot be continued with another weight."""
    config = aligned_run.config()
    other = dataclasses.replace(config, pretrain=dataclasses.replace(config.pretrain, alignment_weight=0.3))
    with pytest.raises(PemtError, match=r"pretrain\.alignment_weight: 1 there, 0\.3 asked"):
        aligned_run.start(other, aligned_run.description())

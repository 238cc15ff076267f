"""Figures are never made of NaN, of fewer clips than the card says, or of damaged records: the commands as typed."""

from __future__ import annotations

import dataclasses
import math
import shutil

import numpy as np
import pytest
import yaml

from beam_jobs.embed import main as embed
from pemt_tf import cli
from pemt_tf.commands import predict as predict_command
from pemt_tf.doctor.data_folder import check_data
from pemt_tf.search import query
from pemt_tf.search.query import QueryModel
from tests.conftest import SMALL
from tests.fake_dataset import fake_clips, write_dataset
from tests.fake_embeddings import write_embeddings

FIRST = "test/clips-00000-of-00003.tfrecord"


def refused(capsys, *arguments) -> str:
    """The one line that a command says."""
    code = cli.main([str(argument) for argument in arguments])
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert code == 2 and len(lines) == 1, lines
    assert "{{" not in lines[0] and "\\x" not in lines[0]
    return lines[0]


@pytest.fixture(scope="module")
def with_nan(tmp_path_factory, small_config):
    """Test clip 3 has one NaN in its spectrogram."""
    splits = {
        "train": fake_clips(small_config.geometry, 12),
        "test": fake_clips(small_config.geometry, 9, first_seed=1000),
    }
    log_mel = splits["test"][3].log_mel.copy()
    log_mel[1, 2, 3] = np.nan
    splits["test"][3] = dataclasses.replace(splits["test"][3], log_mel=log_mel)
    return write_dataset(tmp_path_factory.mktemp("with_nan") / "data", small_config.geometry, splits)


@pytest.fixture(scope="module")
def cut(tmp_path_factory, dataset_directory):
    """The first of two test files is empty: four clips of nine are left."""
    folder = shutil.copytree(dataset_directory, tmp_path_factory.mktemp("cut") / "data")
    (folder / FIRST).write_bytes(b"")
    return folder


@pytest.fixture(scope="module")
def damaged(tmp_path_factory, dataset_directory):
    """A wrong bit in the first test clip and in the first training clip."""
    folder = shutil.copytree(dataset_directory, tmp_path_factory.mktemp("damaged") / "data")
    for split in ("train", "test"):
        path = folder / FIRST.replace("test", split)
        second = 16 + int.from_bytes(path.read_bytes()[:8], "little")
        content = bytearray(path.read_bytes())
        content[second + 200] ^= 1
        path.write_bytes(content)
    return folder


@pytest.fixture
def loaded_once(monkeypatch, backbone_servable):
    model = QueryModel(backbone_servable)
    monkeypatch.setattr(query, "QueryModel", lambda directory: model)


def test_nan_names_the_clip(
    capsys, with_nan, finetuning_run, pretraining_run, backbone_servable, loaded_once, tmp_path
):
    output = tmp_path / "figures.json"
    for command, run in (("evaluate", finetuning_run), ("probe", pretraining_run)):
        said = refused(capsys, command, "--model", run.path, "--data", with_nan, "--output", output)
        assert "for clip 'fake-001003' is NaN or infinite" in said
    assert not output.exists()
    search = ("search", "--data", with_nan, "--model", backbone_servable, "--split", "test", "--id", "fake-001000")
    said = refused(capsys, *search)  # here the model itself refuses the clip
    assert "clip 'fake-001003' of split 'test' is not one that the model can embed (" in said and "finite" in said


def test_nan_in_embeddings_names_the_clip(capsys, tmp_path):
    vectors = np.ones((4, 3), np.float32)
    vectors[2, 1] = np.nan
    write_embeddings(tmp_path / "embeddings", vectors)
    for clip in ("clip-0", "clip-2"):
        said = refused(capsys, "search", tmp_path / "embeddings", "--id", clip)
        assert "the embedding for clip 'clip-2' is NaN or infinite" in said


@pytest.mark.parametrize("layout", [[], ["--json"]])
def test_nan_of_one_file_leaves_the_others(capsys, monkeypatch, layout):
    answers = [("a.mp4", np.array([0.2, 0.8])), ("b.mp4", np.array([math.nan] * 2)), ("c.mp4", np.array([0.7, 0.3]))]
    monkeypatch.setattr(predict_command, "_here", lambda options: (("cat", "dog"), "probability", iter(answers)))
    code = cli.main(["predict", "a.mp4", "b.mp4", "c.mp4", "--model", "unused", *layout])
    out, err = capsys.readouterr()
    assert code == 2 and len(out.splitlines()) == 2 and "nan" not in out.lower()
    assert "for clip 'b.mp4' is NaN or infinite" in err and "1 of 3 files could not be classified" in err


def test_missing_clips_are_told_with_both_numbers(
    capsys, cut, finetuning_run, pretraining_run, backbone_servable, loaded_once, tmp_path
):
    numbers = "split 'test' holds 4 clips, but its data card says 9"
    for command, run in (("evaluate", finetuning_run), ("probe", pretraining_run)):
        assert numbers in refused(capsys, command, "--model", run.path, "--data", cut)
    search = ("search", "--data", cut, "--model", backbone_servable, "--split", "test", "--id", "fake-001001")
    assert numbers in refused(capsys, *search)
    assert embed([f"--model={backbone_servable}", f"--input={cut}", f"--output={tmp_path / 'embeddings'}"]) == 2
    assert numbers in capsys.readouterr().err
    finding = check_data(cut)
    assert finding.status == "problem" and numbers in finding.found


@pytest.fixture(scope="module")
def config_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "small.yaml"
    path.write_text(yaml.safe_dump(SMALL), encoding="utf-8")
    return path


@pytest.mark.parametrize("command", ["pretrain", "finetune"])
def test_training_on_missing_clips_is_refused(capsys, tmp_path, dataset_directory, config_file, command):
    data = shutil.copytree(dataset_directory, tmp_path / "data")
    (data / FIRST.replace("test", "train")).write_bytes(b"")
    arguments = (command, "--data", data, "--preset", config_file, "--output", tmp_path / "run")
    assert "split 'train' holds 6 clips, but its data card says 12" in refused(capsys, *arguments)
    assert not (tmp_path / "run").exists()


def test_damage_is_named_by_file_and_byte(
    capsys, damaged, finetuning_run, backbone_servable, loaded_once, config_file, tmp_path
):
    place = f"{damaged / FIRST}: record 1, at byte "
    assert place in refused(capsys, "evaluate", "--model", finetuning_run.path, "--data", damaged)
    search = ("search", "--data", damaged, "--model", backbone_servable, "--split", "test", "--id", "fake-001000")
    assert place in refused(capsys, *search)
    few = ("--preset", config_file, "--output", tmp_path / "run", "--set", "finetune.labels_per_class=1")
    assert place.replace("/test/", "/train/") in refused(capsys, "finetune", "--data", damaged, *few)
    assert place.replace("/test/", "/train/") in refused(capsys, "pretrain", "--data", damaged, *few[:4])
    finding = check_data(damaged)
    assert finding.status == "problem" and finding.found.startswith(place.replace("/test/", "/train/"))
    assert finding.found.endswith("; and 1 more such records or files")


def test_the_doctor_finds_what_cannot_be_trained_on(with_nan, tmp_path, small_config):
    found = check_data(with_nan).found
    # Clips 0, 2, 4 ... are in the first file, 1, 3, 5 ... in the second.
    assert "test/clips-00001-of-00003.tfrecord: record 1, at byte " in found
    assert found.endswith("clip 'fake-001003', has NaN or infinity in its spectrogram")
    clips = fake_clips(small_config.geometry, 4)
    clips[2] = dataclasses.replace(clips[2], label_indices=(3,))
    found = check_data(write_dataset(tmp_path / "data", small_config.geometry, {"train": clips})).found
    assert found.endswith("clip 'fake-000002', has label 3, but the vocabulary has 3 labels, from 0")

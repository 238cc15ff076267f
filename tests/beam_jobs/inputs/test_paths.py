"""Names of splits in folders and manifests, and what is said of names that only look like one."""

import pytest

from beam_jobs.inputs.file_listing import list_inputs, split_and_label
from beam_jobs.inputs.manifest import read_manifest
from beam_jobs.inputs.paths import looks_like_split, split_named
from tests.beam_jobs.command import run

TRAIN, VALIDATION, TEST = "train", "validation", "test"
USUAL = {
    TRAIN: ["train", "training", "Train", "TRAINING"],
    VALIDATION: ["validation", "val", "valid", "dev", "development", "Val", "VALID", "Validation"],
    TEST: ["test", "testing", "Test", "TESTING"],
}


@pytest.mark.parametrize(("split", "name"), [(split, name) for split, names in USUAL.items() for name in names])
def test_usual_names(tmp_path, split, name):
    assert split_and_label((name, "dog")) == (split, "dog")
    assert split_and_label((name,)) == (split, None)
    assert split_and_label(("dog", name)) == (None, "dog")
    (tmp_path / "a.mp4").touch()
    (tmp_path / "list.csv").write_text(f"path,split\na.mp4,{name}\n")
    assert [clip.split for clip in read_manifest(str(tmp_path / "list.csv")).clips] == [split]


@pytest.mark.parametrize("name", ["unlabelled", "unlabeled", "Unlabelled"])
def test_no_label(name):
    assert split_and_label((name,)) == (None, None) and split_and_label(("Val", name)) == (VALIDATION, None)


@pytest.mark.parametrize(
    "name",
    [
        "train1",
        "train_set",
        "trainset",
        "my-test",
        "val2017",
        "test.clean",
        "trainval",
        "eval",
        "Evaluation",
        "holdout",
    ],
)
def test_what_looks_like_a_split(name):
    assert looks_like_split(name) and split_named(name) is None


@pytest.mark.parametrize("name", ["dog", "trainer", "contest", "valley", "device", "protest", "123", "value", "latest"])
def test_what_does_not(name):
    assert not looks_like_split(name)


def notes(tmp_path, *names):
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return list_inputs(str(tmp_path)).notes


def test_folders_that_are_clear_need_no_words(tmp_path):
    assert notes(tmp_path / "1", "Train/dog/a.mp4", "valid/dog/b.mp4", "test/c.mp4") == ()
    assert notes(tmp_path / "2", "dog/a.mp4", "cat/b.mp4", "c.mp4") == ()


def test_labels_that_look_like_splits(tmp_path):
    (note,) = notes(tmp_path, "train_1/dog/a.mp4", "eval/dog/b.mp4", "dog/c.mp4")
    assert note.startswith("'eval', 'train_1' look like splits and were taken for labels")


def test_a_split_below_a_label(tmp_path):
    (note,) = notes(tmp_path, "dog/train/a.mp4", "dog/test/b.mp4")
    assert note.startswith("'dog/test', 'dog/train' are not taken for splits")


def test_a_label_that_is_called_like_a_split(tmp_path, capsys):
    """The vehicle."""
    (note,) = notes(tmp_path, "Train/a.mp4", "car/b.mp4", "bus/c.mp4")
    assert note.startswith("'Train' were taken for splits, 'bus', 'car' beside them for labels")
    _, _, err = run(capsys, "--input", tmp_path, "--dry_run")
    assert f"note: {note}" in err

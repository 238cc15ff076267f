"""Manifest makers: the command, what all of them have in common, and ESC; on small fakes of the published layouts."""

import csv
import os

import pytest

from beam_jobs.datasets.__main__ import main
from beam_jobs.datasets.collection import Entry, hold_out
from beam_jobs.inputs.manifest import read_manifest
from pemt_tf.errors import PemtError

ESC_HEADER = "filename,fold,target,category,esc10,src_file,take"


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def make(capsys, *arguments):
    """Exit code, standard output and standard error."""
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture
def esc50(tmp_path):
    root = tmp_path / "ESC-50"
    rows = [
        "1-100032-A-0.wav,1,0,dog,True,100032,A",
        "1-100032-B-0.wav,1,0,dog,True,100032,B",
        "2-2000-A-0.wav,2,0,dog,True,2000,A",
        "2-3000-A-36.wav,2,36,vacuum_cleaner,False,3000,A",
        "3-4000-A-36.wav,3,36,vacuum_cleaner,False,4000,A",
    ]
    touch(root, *(f"audio/{row.split(',')[0]}" for row in rows))
    (root / "meta").mkdir()
    (root / "meta/esc50.csv").write_text("\n".join([ESC_HEADER, *rows]) + "\n")
    return root


def test_esc50_tests_one_fold_and_keeps_takes_together(esc50, tmp_path, capsys):
    manifest = tmp_path / "esc.csv"
    code, out, err = make(capsys, "esc50", "--root", esc50, "--fold", 2, "--output", manifest)
    assert (code, err) == (0, "")
    assert {(row["path"], row["label"], row["split"], row["group"], row["fold"]) for row in rows_of(manifest)} == {
        ("audio/1-100032-A-0.wav", "dog", "train", "1-100032", "1"),
        ("audio/1-100032-B-0.wav", "dog", "train", "1-100032", "1"),
        ("audio/2-2000-A-0.wav", "dog", "test", "2-2000", "2"),
        ("audio/2-3000-A-36.wav", "vacuum_cleaner", "test", "2-3000", "2"),
        ("audio/3-4000-A-36.wav", "vacuum_cleaner", "train", "3-4000", "3"),
    }
    assert "5 clips of 2 labels: test 2, train 3" in out
    assert "5 recordings; the published set has 2000" in out
    assert f"--input {manifest} --input_root {esc50}" in out


def test_the_manifest_is_what_preprocess_reads(esc50, tmp_path, capsys):
    manifest = tmp_path / "elsewhere" / "esc.csv"
    make(capsys, "esc50", "--root", esc50, "--fold", 2, "--output", manifest)
    clips = read_manifest(str(manifest), str(esc50)).clips
    assert len(clips) == 5
    assert {clip.label for clip in clips if clip.split == "test"} == {"dog", "vacuum_cleaner"}
    assert {dict(clip.extra)["fold"] for clip in clips} == {"1", "2", "3"}


def test_esc10_of_esc50(esc50, tmp_path, capsys):
    manifest = tmp_path / "esc.csv"
    make(capsys, "esc50", "--root", esc50, "--fold", 1, "--subset", "esc10", "--output", manifest)
    assert [(row["label"], row["split"]) for row in rows_of(manifest)] == [
        ("dog", "test"),
        ("dog", "test"),
        ("dog", "train"),
    ]


def test_esc10_as_class_folders(tmp_path, capsys):
    root = tmp_path / "ESC-10"
    touch(root, "001 - Dog bark/1-30226-A.ogg", "001 - Dog bark/5-9032-B.ogg", "rain/1-17367-A.ogg", "rain/notes.txt")
    touch(root, ".git/1-1-A.ogg")
    code, _, _ = make(capsys, "esc50", "--root", root, "--fold", 5, "--output", tmp_path / "m.csv")
    assert code == 0
    assert {(row["path"], row["label"], row["split"], row["group"]) for row in rows_of(tmp_path / "m.csv")} == {
        ("001 - Dog bark/1-30226-A.ogg", "Dog bark", "train", "1-30226"),
        ("001 - Dog bark/5-9032-B.ogg", "Dog bark", "test", "5-9032"),
        ("rain/1-17367-A.ogg", "rain", "train", "1-17367"),
    }


def test_a_source_in_two_folds_is_told(tmp_path, capsys):
    touch(tmp_path / "E", "rain/1-7-A.ogg", "rain/2-7-B.ogg")
    out = make(capsys, "esc50", "--root", tmp_path / "E", "--fold", 1, "--output", tmp_path / "m.csv")[1]
    assert "1 sources are in several folds" in out and "7 ..." in out


def test_missing_files_are_listed_counted_and_in_the_exit_code(esc50, tmp_path, capsys):
    manifest, missing = tmp_path / "esc.csv", tmp_path / "esc.missing.csv"
    (esc50 / "audio/2-2000-A-0.wav").unlink()
    arguments = ("esc50", "--root", esc50, "--fold", 3, "--output", manifest)
    code, out, _ = make(capsys, *arguments)
    assert code == 3
    assert len(rows_of(manifest)) == 4
    assert rows_of(missing) == [
        {"name": "audio/2-2000-A-0.wav", "reason": "named by meta/esc50.csv, but there is no such file"}
    ]
    assert f"1 of 5 are missing, listed in {missing}" in out
    assert make(capsys, *arguments, "--allow-missing")[0] == 0
    touch(esc50, "audio/2-2000-A-0.wav")
    assert make(capsys, *arguments)[0] == 0
    assert not missing.exists()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda root: (root / "meta/esc50.csv").write_text("filename,fold\na,1\n"), "has no column 'target'"),
        (lambda root: (root / "meta/esc50.csv").write_text(f"{ESC_HEADER}\na.wav,9,0,dog,True,1,A\n"), "fold '9'"),
        (lambda root: (root / "meta/esc50.csv").write_text(f"{ESC_HEADER}\na.wav,1\n"), "'a.wav' is too short"),
        (lambda root: (root / "meta/esc50.csv").write_bytes(b"\xff\xfe\x00"), "cannot read"),
        (lambda root: ((root / "meta/esc50.csv").unlink(), touch(root, "a/b.wav")), "is not named as in ESC-10"),
        (lambda root: root.rename(root.with_name("gone")), "there is no folder"),
    ],
)
def test_what_is_not_the_data_set_is_one_line(esc50, tmp_path, capsys, damage, words):
    damage(esc50)
    code, out, err = make(capsys, "esc50", "--root", esc50, "--fold", 1, "--output", tmp_path / "m.csv")
    assert (code, out) == (2, "")
    assert err.startswith("error: ") and words in err and err.count("\n") == 1
    assert not (tmp_path / "m.csv").exists()


def train_entries(label, count):
    return [Entry(f"{label}/{number}", label, "train", f"{label}-{number // 2}") for number in range(count)]


def test_validation_takes_whole_groups_by_their_names():
    entries = [*train_entries("a", 2000), Entry("t", "a", "test", "t")]
    held = hold_out(entries, 0.2)
    splits = {}
    for entry in held:
        splits.setdefault(entry.group, set()).add(entry.split)
    assert all(len(split) == 1 for split in splits.values())
    assert splits["t"] == {"test"}
    share = sum(split == {"validation"} for split in splits.values()) / 1000
    assert abs(share - 0.2) < 0.04  # three standard deviations of a binomial draw
    fewer = {entry.path: entry.split for entry in hold_out(entries[:1000], 0.2)}
    assert fewer == {entry.path: entry.split for entry in held[:1000]}  # others do not change a group's split
    assert hold_out(entries, 0.0) == entries


def test_validation_leaves_every_label_something_to_learn():
    entries = [entry for number in range(40) for entry in train_entries(f"label{number}", 4)]
    held = hold_out(entries, 0.95)
    assert {entry.label for entry in held if entry.split == "train"} == {f"label{number}" for number in range(40)}
    assert any(entry.split == "validation" for entry in held)


def test_a_second_validation_split_is_refused():
    with pytest.raises(PemtError, match="--validation-fraction"):
        hold_out([Entry("a", "a", "validation", "a")], 0.1)


def test_names_that_are_not_utf8(tmp_path):
    from beam_jobs.datasets.collection import write_manifest

    paths = [os.fsdecode(name) for name in (b"caf\xe9/a.wav", rb"caf\xe9.wav")]
    touch(tmp_path, *paths)
    write_manifest(tmp_path / "l.csv", [Entry(path, os.fsdecode(b"caf\xe9"), "train", path) for path in paths])
    clips = read_manifest(str(tmp_path / "l.csv")).clips
    assert {(clip.path, clip.label) for clip in clips} == {(str(tmp_path / path), r"caf\xe9") for path in paths}

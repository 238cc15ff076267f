"""Manifest makers of UCF101, Kinetics-Sounds and VGGSound, on small fakes of the published layouts."""

import pytest

from beam_jobs.datasets.kinetics_sounds import CLASSES_31, CLASSES_32, PAPER_NAMES
from beam_jobs.inputs.manifest import read_manifest
from tests.beam_jobs.test_datasets import make, rows_of, touch

KINETICS_HEADER = "label,youtube_id,time_start,time_end,split,is_cc"


@pytest.fixture
def ucf101(tmp_path):
    root = tmp_path / "UCF101"
    train = ["ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1", "ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c02.avi 1"]
    train.append("HandstandPushups/v_HandStandPushups_g08_c01.avi 37")  # so spelled in the release
    test = ["ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi", "HandstandPushups/v_HandStandPushups_g01_c02.avi"]
    touch(root, *(f"UCF-101/{line.split()[0]}" for line in train + test))
    lists = root / "ucfTrainTestlist"
    lists.mkdir()
    (lists / "classInd.txt").write_text("1 ApplyEyeMakeup\r\n37 HandstandPushups\r\n")
    (lists / "trainlist02.txt").write_text("\r\n".join(train) + "\r\n")
    (lists / "testlist02.txt").write_text("\r\n".join(test) + "\r\n")
    return root


def test_ucf101_has_the_published_split_and_keeps_groups(ucf101, tmp_path, capsys):
    manifest = tmp_path / "ucf.csv"
    code, out, err = make(capsys, "ucf101", "--root", ucf101, "--fold", 2, "--output", manifest)
    assert (code, err) == (0, "")
    assert {(row["path"], row["label"], row["split"], row["group"]) for row in rows_of(manifest)} == {
        ("UCF-101/ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi", "ApplyEyeMakeup", "train", "ApplyEyeMakeup/g08"),
        ("UCF-101/ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c02.avi", "ApplyEyeMakeup", "train", "ApplyEyeMakeup/g08"),
        (
            "UCF-101/HandstandPushups/v_HandStandPushups_g08_c01.avi",
            "HandstandPushups",
            "train",
            "HandstandPushups/g08",
        ),
        ("UCF-101/ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi", "ApplyEyeMakeup", "test", "ApplyEyeMakeup/g01"),
        ("UCF-101/HandstandPushups/v_HandStandPushups_g01_c02.avi", "HandstandPushups", "test", "HandstandPushups/g01"),
    }
    assert "5 clips of 2 labels: test 2, train 3" in out
    assert len(read_manifest(str(manifest), str(ucf101)).clips) == 5


def test_ucf101_lists_elsewhere_and_class_folders_at_the_root(ucf101, tmp_path, capsys):
    lists = (ucf101 / "ucfTrainTestlist").rename(tmp_path / "lists")
    videos = ucf101 / "UCF-101"
    (videos / "ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c02.avi").unlink()
    arguments = ("ucf101", "--root", videos, "--splits", lists, "--fold", 2, "--output", tmp_path / "m.csv")
    assert make(capsys, *arguments)[0] == 3
    assert len(rows_of(tmp_path / "m.csv")) == 4
    (missing,) = rows_of(tmp_path / "m.missing.csv")
    assert missing["name"] == "ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c02.avi"


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("classInd.txt", "1 ApplyEyeMakeup\n", "'HandstandPushups', which is not in classInd.txt"),
        ("classInd.txt", "1 ApplyEyeMakeup\n36 HandstandPushups\n", "has class number 37, but classInd.txt says 36"),
        ("classInd.txt", "ApplyEyeMakeup\n", "expected `1 ApplyEyeMakeup`"),
        ("testlist02.txt", "ApplyEyeMakeup\n", "expected Class/v_Class_g01_c01.avi"),
    ],
)
def test_ucf101_lists_that_contradict_each_other(ucf101, tmp_path, capsys, file, text, words):
    (ucf101 / "ucfTrainTestlist" / file).write_text(text)
    code, _, err = make(capsys, "ucf101", "--root", ucf101, "--fold", 2, "--output", tmp_path / "m.csv")
    assert code == 2 and words in err and err.count("\n") == 1


def test_a_fold_without_its_list(ucf101, tmp_path, capsys):
    code, _, err = make(capsys, "ucf101", "--root", ucf101, "--fold", 3, "--output", tmp_path / "m.csv")
    assert code == 2 and "trainlist03.txt" in err


def test_classes_of_kinetics_sounds():
    assert len(PAPER_NAMES) == 34
    assert (len(CLASSES_31), len(CLASSES_32)) == (31, 32)
    assert set(CLASSES_32) - set(CLASSES_31) == {"strumming guitar"}
    assert {name for name, ours in PAPER_NAMES.items() if ours is None} == {"typing", "fingerpicking", "patting"}
    assert "playing xylophone" in CLASSES_31 and "mowing lawn" in CLASSES_31


@pytest.fixture
def kinetics(tmp_path):
    """One video of every class to train on, and of some to validate: cut, whole, gone, in odd folders."""
    root = tmp_path / "k400"
    train = [
        f'"{label}",train{number:02d}_-xyz,{number},{number + 10},train,0' for number, label in enumerate(CLASSES_32)
    ]
    touch(root, *(f"train/{label}/train{n:02d}_-xyz_{n:06d}_{n + 10:06d}.mp4" for n, label in enumerate(CLASSES_32)))
    train.append("abseiling,notsound,1,11,train,0")
    val = ["bowling,whole,30,40,val,0", "bowling,gone,1,11,val,0", "singing,plain,5,15,validate,0"]
    touch(root, "elsewhere/whole.mkv", "elsewhere/plain_5_15.webm", "elsewhere/notsound_000001_000011.mp4")
    (root / "train.csv").write_text("\n".join([KINETICS_HEADER, *train]) + "\n")
    (root / "val.csv").write_text("\n".join([KINETICS_HEADER, *val, "bowling,hidden,1,11,test,0"]) + "\n")
    return root


def test_kinetics_sounds_finds_videos_by_name_and_says_what_is_gone(kinetics, tmp_path, capsys):
    lists = (kinetics / "train.csv", kinetics / "val.csv")
    manifest = tmp_path / "ks.csv"
    code, out, _ = make(capsys, "kinetics_sounds", "--root", kinetics, "--annotations", *lists, "--output", manifest)
    assert code == 3
    rows = {row["path"]: row for row in rows_of(manifest)}
    assert len(rows) == 34 and {row["label"] for row in rows.values()} == set(CLASSES_32)
    whole = rows["elsewhere/whole.mkv"]
    assert (whole["split"], whole["start"], whole["end"], whole["group"]) == ("test", "30.0", "40.0", "whole")
    cut = rows["elsewhere/plain_5_15.webm"]
    assert (cut["split"], cut["start"], cut["label"]) == ("test", "", "singing")
    (gone,) = rows_of(tmp_path / "ks.missing.csv")
    assert gone["name"] == "gone (bowling, val)" and "gone from the web" in gone["reason"]
    assert "1 rows of the test split are left out" in out
    by_id = {clip.clip_id: clip for clip in read_manifest(str(manifest), str(kinetics)).clips}
    assert by_id["elsewhere/whole.mkv#30-40"].end == 40.0


def test_kinetics_tested_on_its_test_split(kinetics, tmp_path, capsys):
    lists = (kinetics / "train.csv", kinetics / "val.csv")
    touch(kinetics, "hidden_000001_000011.mp4")
    arguments = ("kinetics_sounds", "--root", kinetics, "--test-on", "test", "--output", tmp_path / "ks.csv")
    make(capsys, *arguments, "--annotations", *lists, "--allow-missing")
    splits = {row["path"]: row["split"] for row in rows_of(tmp_path / "ks.csv") if row["split"] != "train"}
    assert splits == {
        "elsewhere/whole.mkv": "validation",
        "elsewhere/plain_5_15.webm": "validation",
        "hidden_000001_000011.mp4": "test",
    }


def test_kinetics_by_class_folders(kinetics, tmp_path, capsys):
    touch(
        kinetics, "val/tap_dancing/a_b-c_000001_000011.mp4", "val/abseiling/d_000001_000011.mp4", "test/bowling/e.mp4"
    )
    arguments = ("kinetics_sounds", "--root", kinetics, "--output", tmp_path / "ks.csv")
    code, out, _ = make(capsys, *arguments, "--classes", "31")
    assert code == 0 and "nobody knows what is missing" in out
    rows = rows_of(tmp_path / "ks.csv")
    assert len(rows) == 32 and "strumming guitar" not in {row["label"] for row in rows}
    (tested,) = (row for row in rows if row["split"] == "test")
    assert (tested["label"], tested["group"]) == ("tap dancing", "a_b-c")
    make(capsys, *arguments, "--classes", "all")
    assert "abseiling" in {row["label"] for row in rows_of(tmp_path / "ks.csv")}


def test_kinetics_without_a_class_is_refused(kinetics, tmp_path, capsys):
    next((kinetics / "train/tickling").iterdir()).unlink()
    code, _, err = make(capsys, "kinetics_sounds", "--root", kinetics, "--output", tmp_path / "ks.csv")
    assert code == 2 and "no training video of 'tickling'" in err
    assert not (tmp_path / "ks.csv").exists()


@pytest.mark.parametrize(
    ("row", "words"),
    [("bowling,x,1,11,unknown,0", "split 'unknown'"), ("bowling,x,one,11,train,0", "begins at 'one'")],
)
def test_damaged_kinetics_lists(kinetics, tmp_path, capsys, row, words):
    (kinetics / "train.csv").write_text(f"{KINETICS_HEADER}\n{row}\n")
    arguments = ("--annotations", kinetics / "train.csv", "--output", tmp_path / "ks.csv")
    code, _, err = make(capsys, "kinetics_sounds", "--root", kinetics, *arguments)
    assert code == 2 and words in err


def test_vggsound(tmp_path, capsys):
    root = tmp_path / "VGGSound"
    touch(root, "video/-abc_000030.mp4", "video/d_e_000005.mp4")
    rows = ['-abc,30,"dog barking, howling",train', "d_e,5,people sobbing,test", "gone,1,people sobbing,train"]
    (root / "vggsound.csv").write_text("\n".join(rows) + "\n")
    assert make(capsys, "vggsound", "--root", root, "--output", tmp_path / "v.csv")[0] == 3
    assert {(row["path"], row["label"], row["split"], row["group"]) for row in rows_of(tmp_path / "v.csv")} == {
        ("video/-abc_000030.mp4", "dog barking, howling", "train", "-abc"),
        ("video/d_e_000005.mp4", "people sobbing", "test", "d_e"),
    }
    assert [row["name"] for row in rows_of(tmp_path / "v.missing.csv")] == ["gone at 1 s (people sobbing, train)"]
    (root / "vggsound.csv").write_text("-abc,thirty,dog,train\n")
    code, _, err = make(capsys, "vggsound", "--root", root, "--output", tmp_path / "v.csv")
    assert code == 2 and "'-abc,thirty,dog,train'" in err

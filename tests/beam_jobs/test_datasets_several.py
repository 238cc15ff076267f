"""Manifest makers of data sets with several labels a clip: AudioSet, and VGGSound with revised lists."""

import pytest

from beam_jobs.datasets.collection import Entry, hold_out
from beam_jobs.inputs.manifest import read_manifest
from beam_jobs.inputs.selection import assign_splits, parse_fractions
from tests.beam_jobs.test_datasets import make, rows_of, touch

CLASSES = """index,mid,display_name
0,/m/09x0r,"Speech"
1,/m/05zppz,"Male speech, man speaking"
2,/m/068hy,"Domestic animals, pets"
3,/m/0bt9lr,"Dog"
4,/m/03kmc9,"Siren"
"""
HEAD = """# Segments csv created Sun Mar  5 10:54:31 2017
# num_ytids=5, num_segs=5, num_unique_labels=4, num_positive_labels=8
# YTID, start_seconds, end_seconds, positive_labels
"""


@pytest.fixture
def audioset(tmp_path):
    root = tmp_path / "AudioSet"
    root.mkdir()
    (root / "class_labels_indices.csv").write_text(CLASSES)
    (root / "balanced_train_segments.csv").write_text(
        HEAD
        + """--abc_DEF-0, 30.000, 40.000, "/m/09x0r,/m/05zppz"
aaaaaaaaaaa, 0.000, 10.000, "/m/068hy,/m/0bt9lr"
bbbbbbbbbbb, 5.500, 15.500, "/m/0bt9lr"
ccccccccccc, 20.000, 30.000, "/m/09x0r"
goneGONE000, 0.000, 10.000, "/m/03kmc9"
"""
    )
    (root / "eval_segments.csv").write_text(
        HEAD + 'ddddddddddd, 10.000, 20.000, "/m/0bt9lr,/m/03kmc9"\neeeeeeeeeee, 0.000, 10.000, "/m/03kmc9"\n'
    )
    touch(
        root, "v/Y--abc_DEF-0.wav", "v/aaaaaaaaaaa_0_10.mp4", "v/bbbbbbbbbbb_5500_15500.flac", "ccccccccccc_000020.mp4"
    )
    touch(root, "test/ddddddddddd_10000.m4a", "test/eeeeeeeeeee.wav")
    return root


def test_audioset(audioset, tmp_path, capsys):
    """A siren is only tested: it cannot be learned, so one clip loses it, and another clip has nothing else."""
    manifest = tmp_path / "a.csv"
    code, out, err = make(capsys, "audioset", "--root", audioset, "--output", manifest)
    assert (code, err) == (3, "")
    found = [
        tuple(row[name] for name in ("path", "labels", "split", "group", "start", "end")) for row in rows_of(manifest)
    ]
    assert found == [
        ("test/ddddddddddd_10000.m4a", "Dog", "test", "ddddddddddd", "", ""),
        ("ccccccccccc_000020.mp4", "Speech", "train", "ccccccccccc", "", ""),
        ("v/Y--abc_DEF-0.wav", "Speech|Male speech, man speaking", "train", "--abc_DEF-0", "30.0", "40.0"),
        ("v/aaaaaaaaaaa_0_10.mp4", "Domestic animals, pets|Dog", "train", "aaaaaaaaaaa", "", ""),
        ("v/bbbbbbbbbbb_5500_15500.flac", "Dog", "train", "bbbbbbbbbbb", "", ""),
    ]  # fmt: skip
    assert "5 clips of 4 labels: test 1, train 4" in out
    assert "labels that no training clip has, left out: 1 (Siren)" in out
    assert "2 of 7 are missing" in out
    assert {(row["name"], row["reason"].partition(":")[0]) for row in rows_of(tmp_path / "a.missing.csv")} == {
        ("goneGONE000 at 0 s (train)", "no file of this clip"),
        ("test/eeeeeeeeeee.wav", "has only labels that no training clip has"),
    }
    clips = read_manifest(str(manifest), str(audioset)).clips
    labels = {clip.name: clip.labels for clip in clips}
    assert labels["v/Y--abc_DEF-0.wav"] == ("Speech", "Male speech, man speaking")
    assert len(assign_splits(clips, parse_fractions("train=1"))) == 5  # the job accepts it


def test_files_may_be_cut_already(audioset, tmp_path, capsys):
    manifest = tmp_path / "a.csv"
    make(capsys, "audioset", "--root", audioset, "--cut", "--output", manifest, "--allow-missing")
    assert "start" not in rows_of(manifest)[0]


@pytest.mark.parametrize(
    ("file", "row", "words"),
    [
        ("eval_segments.csv", 'aaaaaaaaaaa, 0.000, 10.000, "/m/0bt9lr"', "is also in a list of the train split"),
        (
            "eval_segments.csv",
            'f, 0.000, 10.000, "/m/unknown"',
            "f has the label '/m/unknown', which is not in the list",
        ),
        ("eval_segments.csv", "f, 0.000, 10.000", "cannot read the row 'f,0.000,10.000'; expected YTID, start_seconds"),
        ("eval_segments.csv", 'f, 9, 1, "/m/0bt9lr"', "cannot read the row"),
        ("class_labels_indices.csv", "9,/m/x,a|b", "/m/x has the name 'a|b'; a label is a text without '|'"),
        ("class_labels_indices.csv", "9,/m/x,Dog", "two classes have the same name"),
    ],
)
def test_bad_lists_are_one_line(audioset, tmp_path, capsys, file, row, words):
    path = audioset / file
    path.write_text(path.read_text() + row + "\n")
    code, _, err = make(capsys, "audioset", "--root", audioset, "--output", tmp_path / "a.csv")
    assert code == 2 and words in err and err.count("\n") == 1
    assert not (tmp_path / "a.csv").exists()


def test_a_folder_without_lists_or_media(tmp_path, audioset, capsys):
    (tmp_path / "empty").mkdir()
    code, _, err = make(capsys, "audioset", "--root", tmp_path / "empty", "--output", tmp_path / "a.csv")
    assert code == 2 and "name the lists of training clips with --train" in err
    arguments = [
        "--train",
        audioset / "balanced_train_segments.csv",
        "--classes",
        audioset / "class_labels_indices.csv",
    ]
    code, _, err = make(capsys, "audioset", "--root", tmp_path / "empty", *arguments, "--output", tmp_path / "a.csv")
    assert code == 2 and "none of the 5 listed clips is under" in err


def test_a_clip_that_is_listed_again_has_all_its_labels(audioset, tmp_path, capsys):
    (audioset / "unbalanced_train_segments.csv").write_text(HEAD + 'aaaaaaaaaaa, 0.000, 10.000, "/m/0bt9lr,/m/09x0r"\n')
    _, out, _ = make(capsys, "audioset", "--root", audioset, "--output", tmp_path / "a.csv")
    assert "rows that repeat a clip: 1; the clip has the labels of all its rows" in out
    labels = {row["group"]: row["labels"] for row in rows_of(tmp_path / "a.csv")}
    assert labels["aaaaaaaaaaa"] == "Domestic animals, pets|Dog|Speech"


def test_holding_out_keeps_a_training_group_of_each_label():
    entries = [Entry(f"{n}.wav", "", "train", f"g{n}", labels=("a", "b") if n else ("a", "rare")) for n in range(20)]
    held = hold_out(entries, 0.5)
    assert held[0].split == "train" and 4 < sum(entry.split == "validation" for entry in held) < 16


def test_rows_of_vggsound_with_other_labels_of_a_clip_are_one_clip(tmp_path, capsys):
    root = tmp_path / "VGGSound"
    touch(root, "v/-abc_000030.mp4", "v/def_000000.mp4")
    (root / "vggsound.csv").write_text(
        '-abc,30,"dog barking",train\n-abc,30,"people, crowd",train\n-abc,30,"dog barking",train\ndef,0,frog,test\n'
    )
    assert make(capsys, "vggsound", "--root", root, "--output", tmp_path / "v.csv")[0] == 0
    assert [(row["label"], row["labels"]) for row in rows_of(tmp_path / "v.csv")] == [
        ("frog", ""),
        ("", "dog barking|people, crowd"),
    ]
    assert {clip.labels for clip in read_manifest(str(tmp_path / "v.csv"), str(root)).clips} == {
        ("frog",),
        ("dog barking", "people, crowd"),
    }

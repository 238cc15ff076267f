"""Names that are not UTF-8, colons and long names: the same text in every list and record, and every file is opened."""

import json
import os
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from beam_jobs.inputs.file_listing import list_inputs
from beam_jobs.inputs.manifest import read_manifest
from pemt_tf.data.dataset_card import DatasetCard
from pemt_tf.errors import PemtError
from tests import media_files as media
from tests.beam_jobs.command import refused, run

# Names as the disk has them, and the text that stands for them.
LABEL = (b"caf\xe9", r"caf\xe9")
FILES = {
    b"caf\xe9/a.mp4": r"caf\xe9/a.mp4",
    b"caf\xe9/\xff.mp4": r"caf\xe9/\xff.mp4",
    rb"dog/\xff.mp4": r"dog/\x5cxff.mp4",
    b"dog/\xff.mp4": r"dog/\xff.mp4",
    b"dog/two\nlines.mp4": r"dog/two\x0alines.mp4",
    "dog/ü.mp4".encode(): "dog/ü.mp4",
}


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return media.write_video(tmp_path_factory.mktemp("one") / "a.mp4", seconds=0.6)


@pytest.fixture(scope="module")
def folder(video, tmp_path_factory):
    """One folder with all of them, one that is broken, and one that is left out."""
    root = tmp_path_factory.mktemp("odd") / os.fsdecode(b"vid\xe9os")
    for name in FILES:
        place = root / os.fsdecode(name)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(video, place)
    (root / os.fsdecode(b"dog/br\xf6ken.mp4")).write_bytes(b"x" * 5000)
    (root / os.fsdecode(b"n\xf6tes.txt")).touch()
    return root


@pytest.fixture(scope="module")
def made(folder, tmp_path_factory):
    from beam_jobs.preprocess import main

    output = tmp_path_factory.mktemp("made") / "data"
    assert main(["--input", str(folder), "--output", str(output)]) == 0
    return output


def json_lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_index_and_lists(made):
    rows = pq.read_table(made / "index.parquet").to_pylist()
    assert {row["id"]: row["path"] for row in rows} == {text: text for text in FILES.values()}
    assert {row["group"] for row in rows} == set(FILES.values())
    assert {row["label"] for row in rows if row["id"].startswith("caf")} == {r"caf\xe9"}
    assert (made / "labels.txt").read_text(encoding="utf-8") == "caf\\xe9\ndog\n"
    assert DatasetCard.read(made).labels == [r"caf\xe9", "dog"]
    assert DatasetCard.read(made).source.endswith(r"/vid\xe9os")
    (failure,) = json_lines(made / "errors" / "failures.jsonl")
    assert failure["id"] == failure["path"] == r"dog/br\xf6ken.mp4"
    assert [row["path"] for row in json_lines(made / "errors" / "filtered.jsonl")] == [r"n\xf6tes.txt"]


def test_everything_that_is_written_is_utf8(made):
    texts = [path for path in made.rglob("*") if path.suffix in (".json", ".jsonl", ".html", ".txt", ".pbtxt")]
    assert len(texts) > 10
    for path in texts:
        text = path.read_bytes().decode("utf-8")
        if path.parent.name != "outcomes":  # which say where the files are, as the disk has it
            assert "\\udc" not in text, path
    assert r"br\xf6ken.mp4" in (made / "report.html").read_text(encoding="utf-8")


def test_records(made):
    found = {}
    for split in DatasetCard.read(made).splits.values():
        for raw in tf.data.TFRecordDataset([str(made / file) for file in split.files]).as_numpy_iterator():
            features = tf.train.Example.FromString(raw).features.feature
            values = [features[name].bytes_list.value[0].decode("utf-8") for name in ("clip/id", "clip/data_path")]
            found[values[0]] = (values[1], features["clip/label/string"].bytes_list.value[0].decode("utf-8"))
    labels = {text: text.split("/")[0] for text in FILES.values()}
    assert found == {text: (text, label) for text, label in labels.items()}


def test_commands_say_it_in_the_same_way(folder, tmp_path, capsys):
    only = folder / os.fsdecode(b"dog/br\xf6ken.mp4")
    assert r"for example br\xf6ken.mp4: " in refused(capsys, tmp_path / "out", "--input", only)
    code, out, _ = run(capsys, "--input", folder, "--dry_run")
    assert code == 0 and "7 inputs, 2 labels; left out: not_media_suffix 1" in out


def test_manifests_name_such_files_in_three_ways(folder, tmp_path):
    expected = [r"caf\xe9/a.mp4", r"dog/\xff.mp4"]
    written = {
        "bytes.csv": b"path,label\ncaf\xe9/a.mp4,x\ndog/\xff.mp4,y\n",
        "text.csv": b"path,label\ncaf\\xe9/a.mp4,x\ndog/\\xff.mp4,y\n",  # which is also another file's own name
        "text.jsonl": b'{"path": "caf\\udce9/a.mp4"}\n{"path": "dog/\\\\x5cxff.mp4"}\n',
    }
    for name, data in written.items():
        (tmp_path / name).write_bytes(data)
    listings = {name: read_manifest(str(tmp_path / name), root=str(folder)).clips for name in written}
    assert [clip.clip_id for clip in listings["bytes.csv"]] == expected
    assert [clip.clip_id for clip in listings["text.csv"]] == expected
    assert [clip.clip_id for clip in listings["text.jsonl"]] == [expected[0], r"dog/\x5cxff.mp4"]
    for clips in listings.values():
        assert all(Path(clip.path).is_file() and clip.group is None for clip in clips)


def test_index_of_a_data_set_is_a_manifest(made, folder, tmp_path):
    table = pq.read_table(made / "index.parquet").select(["path", "label", "split"])
    pq.write_table(table, tmp_path / "again.parquet")
    clips = read_manifest(str(tmp_path / "again.parquet"), root=str(folder)).clips
    assert {clip.clip_id for clip in clips} == set(FILES.values())
    assert {os.fsencode(Path(clip.path).relative_to(folder)) for clip in clips} == set(FILES)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (b"gone\xe9.mp4,x", r"line 2: its path gone\\xe9.mp4 is not UTF-8, and no file has these bytes"),
        (b"a.mp4,caf\xe9", r"line 2 has label 'caf\\xe9', which contains a line break"),
        (b'a.mp4,"two\nlines"', r"line 3 has label 'two\\x0alines', which contains a line break"),
    ],
)
def test_what_a_manifest_may_not_hold(tmp_path, row, said):
    (tmp_path / "a.mp4").touch()
    (tmp_path / "list.csv").write_bytes(b"path,label\n" + row + b"\n")
    with pytest.raises(PemtError, match=said):
        read_manifest(str(tmp_path / "list.csv"))


def test_a_colon_in_a_relative_path(video, tmp_path, monkeypatch, capsys):
    place = tmp_path / "12:30 party"
    place.mkdir()
    shutil.copy(video, place / "file:a.mp4")
    shutil.copy(video, place / "concat:b|c.mp4")
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, "--input", "12:30 party", "--output", "out")
    assert code == 0 and "2 inputs = 2 written" in out, err
    code, out, _ = run(capsys, "--input", "12:30 party/file:a.mp4", "--dry_run")
    assert code == 0 and "1 written" in out


@pytest.mark.parametrize("flag", ["--input", "--output", "--labels_from", "--retry_failed"])
def test_a_name_that_is_too_long(video, tmp_path, capsys, flag):
    arguments = {"--input": str(video), "--output": str(tmp_path / "out"), flag: str(tmp_path / ("n" * 300))}
    if flag == "--retry_failed":
        del arguments["--input"]
    code, _, err = run(capsys, *[word for pair in arguments.items() for word in pair])
    assert code == 2 and err.startswith("error: ") and err.count("\n") == 1, err


def test_a_row_that_is_too_long(tmp_path):
    (tmp_path / "list.csv").write_text(f"path\n{'n' * 300}.mp4\n")
    with pytest.raises(PemtError, match="line 2 points nowhere"):
        read_manifest(str(tmp_path / "list.csv"))


@pytest.fixture
def closed(monkeypatch):
    """Makes folders unreadable, for whoever runs the tests."""
    look = os.scandir

    def close(*folders):
        def scandir(path="."):
            if not isinstance(path, int) and Path(path) in folders:
                raise PermissionError(13, "Permission denied", str(path))
            return look(path)

        monkeypatch.setattr(os, "scandir", scandir)

    return close


def test_a_folder_that_may_not_be_read_is_one_failure(video, tmp_path, capsys, closed):
    root = tmp_path / "in"
    for name in ("dog/a.mp4", "dog/inner/b.mp4", "cat/c.mp4"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(video, root / name)
    closed(root / "dog" / "inner")
    code, out, err = run(capsys, "--input", root, "--output", tmp_path / "out")
    assert code == 0, err
    assert "3 inputs = 2 written + 0 filtered + 1 failed" in out
    assert DatasetCard.read(tmp_path / "out").failed == {"not_found": 1}
    (failure,) = json_lines(tmp_path / "out" / "errors" / "failures.jsonl")
    detail = "cannot read the folder: Permission denied"
    assert failure == {"id": "dog/inner", "path": "dog/inner", "stage": "list", "cause": "not_found", "detail": detail}
    closed(root / "dog", root / "cat")
    with pytest.raises(PemtError, match=r"2 folders could not be read \(cat: cannot read the folder: Permission"):
        list_inputs(str(root))
    closed(root)
    with pytest.raises(PemtError, match=r"cannot read the input folder .*: Permission denied"):
        list_inputs(str(root))

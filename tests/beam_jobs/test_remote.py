"""Input and output on a file system that is not the local disk."""

import io
import json
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam_jobs.engines import storage
from beam_jobs.preprocess import main
from tests import media_files as media
from tests.beam_jobs.memory_file_system import FILES, MemoryFileSystem


def test_remote_input_and_output_are_the_same_as_local_ones(tmp_path, capsys):
    FILES.clear()
    root = tmp_path / "in"
    media.write_video(root / "dog" / "a.mp4", seconds=1)
    media.write_video(root / "cat" / "b.webm", seconds=1)
    media.not_media(root / "cat" / "c.mp4")
    (root / "notes.txt").write_text("x")
    for path in root.rglob("*.*"):
        FILES[f"mem://bucket/in/{path.relative_to(root)}"] = path.read_bytes()
    assert main(["--input", str(root), "--output", str(tmp_path / "out")]) == 0
    assert main(["--input", "mem://bucket/in", "--output", "mem://bucket/out"]) == 0
    local = {str(path.relative_to(tmp_path / "out")): path.read_bytes() for path in (tmp_path / "out").rglob("*.*")}
    remote = {path.removeprefix("mem://bucket/out/"): data for path, data in FILES.items() if "/out/" in path}
    cards = [json.loads(files.pop("dataset_card.json")) for files in (local, remote)]
    for files in (local, remote):
        for name in [name for name in files if name.startswith("outcomes/") or name == "report.html"]:
            del files[name]  # which say where the files are, and the command
    assert remote == local
    assert cards[0]["content_hash"] == cards[1]["content_hash"] and cards[0]["written"] == cards[1]["written"] == 2

    capsys.readouterr()
    assert main(["--input", "mem://bucket/in", "--dry_run"]) == 0
    assert "all 3 tried: 2 written, 1 not (open_failed 1)" in capsys.readouterr().out
    assert main(["--input", "mem://bucket/in", "--output", "mem://bucket/out"]) == 2
    assert "already holds a finished data set" in capsys.readouterr().err
    manifest = "path,label,split\nin/dog/a.mp4,x,train\nmem://bucket/in/cat/b.webm,x,test\n"
    FILES["mem://bucket/list.csv"] = manifest.encode()
    assert main(["--input", "mem://bucket/list.csv", "--output", "mem://bucket/out", "--overwrite"]) == 0
    card = json.loads(FILES["mem://bucket/out/dataset_card.json"])
    assert {name: split["clips"] for name, split in card["splits"].items()} == {"train": 1, "test": 1}
    assert main(["--input", "mem://bucket/nothing", "--output", "mem://bucket/out2"]) == 2
    assert "no media files in mem://bucket/nothing" in capsys.readouterr().err
    assert not any("out2" in path for path in FILES)


class _Troubled:
    """The errors of a store are of its own kinds; this one goes away after some tries."""

    def __init__(self, times, error):
        self.times, self.error, self.asked = times, error, 0

    def open(self, _, path, *__, **___):
        self.asked += 1
        if self.asked <= self.times:
            raise self.error
        return io.BytesIO(FILES[path])


class _RefusedError(Exception):
    code = 403


@pytest.mark.parametrize(
    ("times", "error", "asked", "outcome"),
    [
        (0, None, 1, None),
        (2, RuntimeError("503 try\nagain"), 3, None),
        (9, RuntimeError("503 try\nagain"), 4, OSError),
        (9, _RefusedError("no"), 1, PermissionError),
        (9, FileNotFoundError("gone"), 1, FileNotFoundError),
    ],
)
def test_a_moments_trouble_costs_no_clip(monkeypatch, times, error, asked, outcome):
    FILES["mem://bucket/a.mp4"] = b"abc"
    trouble = _Troubled(times, error)
    monkeypatch.setattr(MemoryFileSystem, "open", lambda *arguments, **flags: trouble.open(*arguments, **flags))
    monkeypatch.setattr(storage, "RETRY_SECONDS", (0.0, 0.0, 0.0))
    if outcome is None:
        with storage.local_copy("mem://bucket/a.mp4") as path:
            assert Path(path).read_bytes() == b"abc" and path.endswith(".mp4")
    else:
        with pytest.raises(outcome, match=r"a\.mp4") as caught, storage.local_copy("mem://bucket/a.mp4"):
            pass
        assert "\n" not in str(caught.value)
    assert trouble.asked == asked


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("s3://bucket/videos", "pip install 'pemt-tf[aws]'"),
        ("s3://bucket/list.csv", "pip install 'pemt-tf[aws]'"),
        ("azfs://account/videos", "pip install 'apache-beam[azure]'"),
        ("hdfs://host/videos", "pip install 'apache-beam[hadoop]'"),
        ("http://host/videos", "no file system http:// is known (gs, s3, azfs and hdfs are)"),
        ("nosuch://host/list.csv", "no file system nosuch:// is known"),
    ],
)
def test_a_file_system_that_is_not_here(tmp_path, capsys, monkeypatch, path, hint):
    plain = storage.importlib.util.find_spec
    absent = {"boto3", "azure.storage.blob", "hdfs"}
    monkeypatch.setattr(storage.importlib.util, "find_spec", lambda name: None if name in absent else plain(name))
    storage._lacking.cache_clear()
    try:
        assert main(["--input", path, "--output", str(tmp_path / "out")]) == 2
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1 and lines[0].startswith(f"error: cannot use {path}") and hint in lines[0]
        (tmp_path / "a.mp4").touch()
        (tmp_path / "list.csv").write_text(f"path\n{path}/a.mp4\n")
        for arguments in (["--input", str(tmp_path / "list.csv"), "--output", str(tmp_path / "out")],
                          ["--input", str(tmp_path), "--output", path]):  # fmt: skip
            assert main(arguments) == 2
            err = capsys.readouterr().err
            assert len(err.splitlines()) == 1 and hint in err
    finally:
        storage._lacking.cache_clear()


def test_an_upload_to_s3_that_cannot_begin_leaves_nothing(monkeypatch):
    """An empty object under the final name would pass for a finished file."""

    class Refusing:
        @staticmethod
        def create(path, **_):
            raise OSError("no connection")

    monkeypatch.setattr(storage, "file_systems", lambda: Refusing)  # putting an empty object would need its options
    with pytest.raises(OSError, match="no connection"), storage._UploadToS3("s3://bucket/job.json") as file:
        file.write(b"{}")
    assert file.closed


def test_tars_parquet_and_conversions_on_another_file_system(tmp_path, capsys):
    from beam_jobs.convert import main as convert

    FILES.clear()
    video = media.write_video(tmp_path / "a.mp4", seconds=1).read_bytes()
    for split in ("train", "test"):
        content = io.BytesIO()
        with tarfile.open(fileobj=content, mode="w") as tar:
            member = tarfile.TarInfo("dog/a.mp4")
            member.size = len(video)
            tar.addfile(member, io.BytesIO(video))
        FILES[f"mem://bucket/in/{split}/0.tar"] = content.getvalue()
    content = io.BytesIO()
    pq.write_table(pa.table({"bytes": [video, b"no video"], "label": ["dog", "cat"]}), content)
    FILES["mem://bucket/x.parquet"] = content.getvalue()
    assert main(["--input", "mem://bucket/in", "--output", "mem://bucket/out"]) == 0
    assert "2 inputs = 2 written" in capsys.readouterr().out
    assert main(["--input", "mem://bucket/x.parquet", "--output", str(tmp_path / "out")]) == 0
    assert "2 inputs = 1 written + 0 filtered + 1 failed" in capsys.readouterr().out
    for name, form in (("wds", "webdataset"), ("back", "tfrecord")):
        source = {"wds": "out", "back": "wds"}[name]
        flags = ["--input", f"mem://bucket/{source}", "--output", f"mem://bucket/{name}", "--format", form]
        assert convert(flags) == 0, capsys.readouterr().err
    for place in ("train/clips-00000-of-00001.tfrecord", "index.parquet", "dataset_card.json"):
        assert FILES[f"mem://bucket/back/{place}"] == FILES[f"mem://bucket/out/{place}"]

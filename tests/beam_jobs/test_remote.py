"""Input and output on a file system that is not the local disk."""

import json

from beam_jobs.preprocess import main
from tests import media
from tests.beam_jobs.memory_file_system import FILES


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

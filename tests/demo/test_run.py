"""The demo's orchestration, on videos of the user's own."""

from __future__ import annotations

import json

import pytest

from pemt_tf import cli
from tests.media_files import sine, write_video

SHORT = ("--set", "pretrain.steps=2", "--set", "pretrain.batch_size=2")


def test_videos_that_are_no_folder(tmp_path, capsys):
    code = cli.main(["demo", "--output", str(tmp_path / "demo"), "--videos", str(tmp_path / "none")])
    assert code == 2
    assert "is not a folder" in capsys.readouterr().err
    assert not (tmp_path / "demo").exists()


def test_folder_that_is_not_a_demos(tmp_path, capsys):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    assert cli.main(["demo", "--output", str(tmp_path / "mine")]) == 2
    assert "not empty" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["letter.txt"]


def test_failing_step_stops_the_demo(tmp_path, capfd):
    (tmp_path / "videos").mkdir()
    code = cli.main(["demo", "--output", str(tmp_path / "demo"), "--videos", str(tmp_path / "videos")])
    captured = capfd.readouterr()
    assert code == 2
    assert "the demo stopped at `python -m beam_jobs.preprocess" in captured.err
    assert "Traceback" not in captured.err
    assert not (tmp_path / "demo" / "records").exists()


@pytest.mark.slow
def test_own_videos_without_labels_end_in_a_report_with_neighbours(tmp_path, capfd):
    videos = tmp_path / "videos"
    videos.mkdir()
    for number in range(6):
        write_video(videos / f"clip{number}.mp4", seconds=1.0, tone=sine(300.0 * (number + 1)))
    arguments = ["demo", "--output", str(tmp_path / "demo"), "--videos", str(videos), *SHORT]
    assert cli.main(arguments) == 0
    out = capfd.readouterr().out
    assert "$ pemt pretrain" in out and "$ pemt export" in out and "pemt finetune" not in out
    assert "no accuracy: no labels" in out
    assert "nearest: clip" in out
    card = json.loads((tmp_path / "demo" / "records" / "dataset_card.json").read_text())
    assert (card["inputs"], card["written"]) == (6, 6)
    report = (tmp_path / "demo" / "report.html").read_text(encoding="utf-8")
    assert 'id="neighbours"' in report and 'id="confusion"' not in report

    assert cli.main(arguments) == 0
    assert capfd.readouterr().out.count("already done") == 3
    assert cli.main(["demo", "--output", str(tmp_path / "demo")]) == 2
    assert "holds the demo of" in capfd.readouterr().err

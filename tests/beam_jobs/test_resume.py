"""Killed, interrupted and repeated jobs: nothing half-made looks complete, and the next run finishes the rest."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest

from beam_jobs.preprocess import main
from beam_jobs.worker import shard_maker
from pemt_tf.data.dataset_card import DatasetCard
from tests import media_files as media
from tests.beam_jobs.command import contents, run


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Twelve short files and the data set of them, a shard for each."""
    root = tmp_path_factory.mktemp("many")
    for number in range(12):
        media.write_video(root / "in" / ("dog", "cat")[number % 2] / f"v{number}.mp4", seconds=0.7, size=(64, 48))
    return root


FLAGS = ("--preset", "tiny", "--shards_per_split", 12)


def finished_shards(work):
    """Shards that say they are finished; each must be whole."""
    count = 0
    for path in (work / "stats").glob("*.json"):
        statistics = json.loads(path.read_text())
        if statistics["clips"]:
            data = (work / statistics["file"]).read_bytes()
            assert len(data) == statistics["bytes"] and hashlib.sha256(data).hexdigest() == statistics["sha256"]
        count += 1
    return count


@pytest.mark.parametrize("after", [1, 5])
def test_killed_job_goes_on(many, tmp_path, capsys, after):
    output, work = tmp_path / "out", tmp_path / ".out.partial"
    arguments = ["--input", many / "in", "--output", output, *FLAGS]
    job = subprocess.Popen(
        [sys.executable, "-m", "beam_jobs.preprocess", *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while len(list((work / "stats").glob("*.json"))) < after and time.monotonic() < deadline and job.poll() is None:
        time.sleep(0.002)
    os.kill(job.pid, signal.SIGKILL)
    assert job.wait() == -signal.SIGKILL, "it was done before it could be killed"
    assert not output.exists()
    before = finished_shards(work)
    assert after <= before < 12
    code, _, err = run(capsys, *arguments)
    assert code == 0 and f"continuing: {before} of 12 shards are finished" in err
    assert not work.exists()
    assert run(capsys, *arguments[:2], "--output", tmp_path / "whole", *FLAGS)[0] == 0
    assert contents(output) == contents(tmp_path / "whole")
    assert DatasetCard.read(output).written == 12


def interrupt_after(monkeypatch, count):
    """Ctrl-C when so many inputs were made."""
    real, left = shard_maker.ClipMaker.outcomes, [count]

    def outcomes(self, path, inputs, write):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        yield from real(self, path, inputs, write)

    monkeypatch.setattr(shard_maker.ClipMaker, "outcomes", outcomes)


def test_interrupted_job_keeps_what_is_done(many, tmp_path, capsys, monkeypatch):
    arguments = ("--input", many / "in", "--output", tmp_path / "out", *FLAGS)
    with monkeypatch.context() as patch:
        interrupt_after(patch, 4)
        code, out, err = run(capsys, *arguments)
    assert (code, out) == (130, "") and "4 finished shards are kept: the same command continues from there" in err
    assert finished_shards(tmp_path / ".out.partial") == 4
    # Other settings would mix two kinds of clips.
    code, _, err = run(capsys, *arguments, "--set", "geometry.segments=2", "--resume")
    assert code == 2 and "was started with other settings: geometry.segments was 4 and is 2" in err
    code, _, err = run(capsys, *arguments, "--split_fractions", "train=1")
    assert code == 2 and "the list of inputs (names, sizes, labels, splits or number of shards) is different" in err
    assert finished_shards(tmp_path / ".out.partial") == 4
    code, _, err = run(capsys, *arguments, "--resume", "--decode_timeout", 300)
    assert code == 0 and "continuing: 4 of 12 shards are finished" in err
    assert list(tmp_path.iterdir()) == [tmp_path / "out"]


def test_overwrite_begins_anew(many, tmp_path, capsys, monkeypatch):
    arguments = ("--input", many / "in", "--output", tmp_path / "out", *FLAGS)
    with monkeypatch.context() as patch:
        interrupt_after(patch, 4)
        assert run(capsys, *arguments)[0] == 130
    code, _, err = run(capsys, *arguments, "--set", "geometry.segments=2", "--overwrite")
    assert code == 0 and "going on" not in err
    assert DatasetCard.read(tmp_path / "out").geometry.segments == 2


def test_resume_of_a_finished_data_set(corpus, made, capsys):
    before = {path: path.stat().st_mtime_ns for path in made.rglob("*")}
    code, out, _ = run(capsys, "--input", corpus, "--output", made, "--preset", "tiny", "--resume")
    assert code == 0 and "nothing to do: the data set is finished" in out
    code, _, err = run(capsys, "--input", corpus, "--output", made, "--plan", "windows", "--window", 0.5, "--resume")
    assert code == 2 and "holds a finished data set of other settings: plan.kind was 'uniform' and is 'windows'" in err
    assert before == {path: path.stat().st_mtime_ns for path in made.rglob("*")}


def test_shard_that_lost_its_records_is_made_again(many, tmp_path, capsys, monkeypatch):
    arguments = ("--input", many / "in", "--output", tmp_path / "out", *FLAGS)
    with monkeypatch.context() as patch:
        interrupt_after(patch, 6)
        run(capsys, *arguments)
    work = tmp_path / ".out.partial"
    first, second = sorted(work.rglob("*.tfrecord"))[:2]
    first.write_bytes(first.read_bytes()[:-10])
    second.unlink()
    code, _, err = run(capsys, *arguments)
    assert code == 0 and "continuing: 4 of 12 shards are finished" in err


def test_retry_of_what_failed(corpus, made, tmp_path, capsys):
    """The broken file is replaced by a good one; the rest of the data set stays as it is."""
    root, output = tmp_path / "videos", tmp_path / "data"
    subprocess.run(["cp", "-r", corpus, root], check=True)
    assert run(capsys, "--input", root, "--output", output)[0] == 0
    before = contents(output)
    code, out, err = run(capsys, "--retry_failed", output / "errors", "--output", tmp_path / "new")
    assert code == 0 and "3 failed inputs tried again: 0 clips gained" in out
    assert re.search(r"^clips 9/9, .*6 ok, 3 bad$", err, re.M), "what is kept counts in both numbers"
    assert DatasetCard.read(tmp_path / "new").failed == DatasetCard.read(output).failed

    media.write_video(root / "dog" / "broken.mp4", seconds=1)
    code, out, _ = run(capsys, "--retry_failed", output / "errors", "--output", output)
    assert code == 0 and "3 failed inputs tried again: 1 clips gained" in out
    card = DatasetCard.read(output)
    assert (card.inputs, card.written, card.failed) == (10, 7, {"too_short": 1, "truncated": 1})
    after = contents(output)
    records_before = {name: data for name, data in before.items() if name.endswith(".tfrecord")}
    assert records_before.items() <= after.items()
    added = [name for name in after if name.endswith(".tfrecord") and name not in records_before]
    assert len(added) == 1 and "/clips-retry1-" in added[0]
    assert added[0].startswith("validation/"), "there are three dogs, one in each split"
    assert set(added) <= {file for split in card.splits.values() for file in split.files}
    assert list(tmp_path.glob(".*")) == []

    (root / "short.mp4").unlink()
    media.write_video(root / "short.mp4", seconds=1)
    assert run(capsys, "--retry_failed", output, "--output", output)[0] == 0
    assert any("/clips-retry2-" in name for name in contents(output))
    assert DatasetCard.read(output).failed == {"truncated": 1}


def test_nothing_to_retry(many, tmp_path, capsys):
    output = tmp_path / "out"
    run(capsys, "--input", many / "in", "--output", output)
    code, out, _ = run(capsys, "--retry_failed", output / "errors", "--output", output)
    assert code == 0 and "nothing to do: no input of" in out


@pytest.fixture(scope="module")
def other_preset(tmp_path_factory):
    """A data set of windows that no preset's defaults give, with one file that failed and one that was left out."""
    root = tmp_path_factory.mktemp("other")
    media.write_video(root / "in" / "a b.mp4", seconds=1.5, size=(64, 48))
    media.write_video(root / "in" / "mute.mp4", seconds=1.5, size=(64, 48), audio_codec=None)
    media.not_media(root / "in" / "c.mp4")
    # Two segments of 0.5 s, as in `tiny` but for their number.
    flags = ["--plan", "windows", "--window", "1", "--set", "geometry.segments=2", "--on_missing_audio", "skip"]
    command = ["--input", root / "in", "--output", root / "out", "--shards_per_split", "1", *flags]
    assert main([str(argument) for argument in command]) == 0
    return root


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--preset", "tiny"], "--preset cannot go with --retry_failed: .* \\(segments: 4 here, 2 there\\)"),
        (["--preset", "avbert_base"], "--preset cannot go with --retry_failed: .* \\(segments: 10 here, 2 there; "),
        (["--set", "geometry.segments=4"], "--set cannot go with --retry_failed: .* \\(segments: 4 here, 2 there\\)"),
        (["--plan", "uniform"], "--plan cannot go with --retry_failed: .* \\(uniform here, windows there\\)"),
        (["--stride", "0.5"], "--stride cannot go with --retry_failed: .* \\(0.5 here, 1.0 there\\)"),
        (["--payload=sequence_example"], "--payload cannot .* \\(sequence_example here, example there\\)"),
        (["--jpeg_quality", "80"], "--jpeg_quality cannot go with --retry_failed: .* \\(80 here, 95 there\\)"),
        (["--store_waveform"], "--store_waveform cannot go with --retry_failed"),
        (["--split_fractions", "train=0.8,validation=0.1,test=0.1"], "--split_fractions cannot go with --retry_failed"),
        (["--labels_from", "x"], "--labels_from cannot go with --retry_failed"),
        (["--dry_run"], "--dry_run tries a sample of --input; it cannot go with --retry_failed"),
    ],
)
def test_retry_refuses_what_was_typed_and_differs(other_preset, tmp_path, capsys, flags, said):
    """What was typed counts, also where it says the same as the default."""
    arguments = ("--retry_failed", other_preset / "out", "--output", tmp_path / "new", *flags)
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "") and re.fullmatch(f"error: {said}.*\n", err), err
    assert not (tmp_path / "new").exists()


def test_retry_goes_on_as_the_data_set_was_made(other_preset, tmp_path, capsys):
    """Flags that were typed then are not to be typed again; typed again they are not refused."""
    root, output = tmp_path / "in", tmp_path / "out"
    shutil.copytree(other_preset / "in", root)
    flags = ("--plan", "windows", "--window", 1, "--preset", "tiny", "--set", "geometry.segments=2")
    made = ("--on_missing_audio", "skip", "--drop_duplicates")
    assert run(capsys, "--input", root, "--output", output, *flags, *made)[0] == 0
    media.write_video(root / "c.mp4", seconds=1.5, size=(64, 48), audio_codec=None)
    for again in ((), flags):
        assert run(capsys, "--retry_failed", output, "--output", tmp_path / f"new{len(again)}", *again)[0] == 0
        card = DatasetCard.read(tmp_path / f"new{len(again)}")
        assert (card.written, card.filtered, card.failed) == (1, {"no_audio": 2}, {})
        settings = json.loads((tmp_path / f"new{len(again)}" / "job.json").read_text())["settings"]
        assert settings["on_missing.audio"] == "skip" and settings["drop_duplicates"] == "across"
    assert run(capsys, "--retry_failed", output, "--output", tmp_path / "mask", "--on_missing_audio", "mask")[0] == 0
    assert DatasetCard.read(tmp_path / "mask").written == 2, "what is asked for now holds for what is tried now"


def test_recorded_command_can_be_given_to_a_shell(tmp_path, capsys):
    """A blank, a quote, a dollar sign and a semicolon in the names of folders."""
    root, output = tmp_path / "my $HOME's; videos", tmp_path / "out put"
    media.write_video(root / "a.mp4", seconds=0.7, size=(64, 48))
    arguments = ["--input", str(root), "--output", str(output), "--split_fractions", "train=1"]
    assert run(capsys, *arguments)[0] == 0
    command = DatasetCard.read(output).command
    echoed = subprocess.run(["sh", "-c", f"printf '%s\\n' {command}"], capture_output=True, text=True, check=True)
    assert echoed.stdout.splitlines() == ["python", "-m", "beam_jobs.preprocess", *arguments]

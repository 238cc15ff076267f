"""Bad input and bad surroundings: one clear line each, and nothing left that looks complete."""

import errno
import json
import re
import shutil
import time
from pathlib import Path

import pytest

from beam_jobs.engines import storage
from beam_jobs.plan import output_folder
from beam_jobs.worker import outcomes, shard_maker
from pemt_tf.data.dataset_card import DatasetCard
from pemt_tf.formats import tfrecord_files
from tests import media_files as media
from tests.beam_jobs.command import contents, refused, run


def test_empty_folder(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    assert "no media files in" in refused(capsys, tmp_path / "out", "--input", tmp_path / "in")


def test_no_readable_video(tmp_path, capsys):
    for name in ("a.mp4", "b.mkv"):
        media.not_media(tmp_path / "in" / name)
    media.write_video(tmp_path / "in" / "c.mp4", seconds=0.2)
    line = refused(capsys, tmp_path / "out", "--input", tmp_path / "in")
    assert "no clip could be made: 3 inputs failed (open_failed 2, too_short 1)" in line
    assert not (tmp_path / "out").exists()


def test_manifest_row_that_points_nowhere(tmp_path, capsys):
    (tmp_path / "list.csv").write_text("path\ngone.mp4\n")
    line = refused(capsys, tmp_path / "out", "--input", tmp_path / "list.csv")
    assert f"list.csv line 2 points nowhere: no file at {tmp_path}/gone.mp4" in line


def test_too_many_failures(corpus, tmp_path, capsys):
    flags = ("--max_bad_fraction", 0.25)
    line = refused(capsys, tmp_path / "out", "--input", corpus, *flags, keeps_shards=True)
    assert "3 of 10 inputs failed (open_failed 1, too_short 1, truncated 1), more than --max_bad_fraction=0.25" in line
    listed = Path(line.rpartition("all of them: ")[2]).read_text().splitlines()
    assert {json.loads(row)["id"] for row in listed} == {"dog/broken.mp4", "short.mp4", "cut.mkv"}
    # What was done is not lost: with a higher limit the job goes on and has nothing left to decode.
    code, _, err = run(capsys, "--input", corpus, "--output", tmp_path / "out", "--max_bad_fraction", 0.3)
    assert code == 0 and re.search(r"continuing: (\d+) of \1 shards are finished", err)


def test_too_many_failures_stop_the_job(tmp_path, capsys, monkeypatch):
    """Not at its end, which may be days away."""
    for number in range(40):
        media.not_media(tmp_path / "in" / f"a{number}.mp4")
    media.write_video(tmp_path / "in" / "b.mp4", seconds=1)
    monkeypatch.setattr(outcomes, "PROGRESS_SECONDS", 0.05)
    real = shard_maker.ClipMaker.outcomes

    def slow(*arguments):
        time.sleep(0.05)
        yield from real(*arguments)

    monkeypatch.setattr(shard_maker.ClipMaker, "outcomes", slow)
    flags = ("--max_bad_fraction", 0.05, "--shards_per_split", 40)
    line = refused(capsys, tmp_path / "out", "--input", tmp_path / "in", *flags, keeps_shards=True)
    done, bad = map(int, re.search(r"stopped after (\d+) of 41 inputs: (\d+) of 41 inputs failed", line).groups())
    assert 3 <= bad <= done < 40


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--preset", "huge"), "no preset 'huge'"),
        (("--set", "geometry.segment=2"), "no field 'segment'"),
        (("--split_fractions", "train=2"), "must add up to 1"),
        (("--shard_per_split", "2"), "unknown option --shard_per_split"),
        (("--labels_from", "/nowhere"), "/nowhere is not a finished data set"),
        (("--window", "5"), "--window and --stride belong to --plan=windows"),
        (("--plan", "windows", "--window", "0.1"), "--window=0.1 is shorter than one segment of the preset, 0.500 s"),
        (("--plan", "segments"), "--plan=segments needs a manifest with start and end in every row"),
        (("--input_root", "/"), "--input_root belongs to a manifest"),
        (("--retry_failed", "x"), "leave out --input"),
    ],
)
def test_bad_flags(corpus, tmp_path, capsys, flags, said):
    assert said in refused(capsys, tmp_path / "out", "--input", corpus, *flags)


def test_finished_data_set_is_not_replaced_by_accident(corpus, made, tmp_path, capsys):
    output = tmp_path / "data"
    shutil.copytree(made, output)
    before = contents(output)
    code, _, err = run(capsys, "--input", corpus / "dog", "--output", output)
    assert code == 2 and "already holds a finished data set" in err
    assert contents(output) == before
    (output / "train" / "stale").touch()
    assert run(capsys, "--input", corpus / "dog", "--output", output, "--overwrite")[0] == 0
    assert DatasetCard.read(output).inputs == 3
    assert not (output / "train" / "stale").exists()
    assert list(tmp_path.iterdir()) == [output]


def test_failed_replacement_leaves_the_old_data_set(corpus, made, tmp_path, capsys):
    output = tmp_path / "data"
    shutil.copytree(made, output)
    before = contents(output)
    media.not_media(tmp_path / "in" / "a.mp4")
    assert run(capsys, "--input", tmp_path / "in", "--output", output, "--overwrite")[0] == 2
    assert contents(output) == before


def test_folder_with_other_things_is_left_alone(corpus, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("years of work")
    line = refused(capsys, tmp_path / "out", "--input", corpus, "--overwrite")
    assert "is not empty and does not hold a data set" in line
    assert (tmp_path / "out" / "thesis.txt").read_text() == "years of work"


def test_output_that_cannot_be_written(corpus, tmp_path, capsys):
    (tmp_path / "file").touch()
    line = refused(capsys, tmp_path / "file" / "out", "--input", corpus)
    assert "cannot" in line and "Not a directory" in line


def test_output_on_a_full_disk(corpus, tmp_path, capsys, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tfrecord_files.RecordFile, "write", full)
    line = refused(capsys, tmp_path / "out", "--input", corpus)
    assert re.fullmatch(
        r"error: cannot write \w+/clips-\d+-of-\d+\.tfrecord in .*/\.out\.partial: No space left on device; make room "
        r"there or choose another --output",
        line,
    )


def test_interrupted_job_leaves_nothing(corpus, tmp_path, capsys, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(shard_maker.ExpendableDecoder, "clips", interrupt)
    code, out, err = run(capsys, "--input", corpus, "--output", tmp_path / "out")
    assert code == 130 and out == "" and "interrupted; nothing was written" in err
    assert list(tmp_path.iterdir()) == []


def test_remains_of_a_killed_job_are_removed(corpus, made, tmp_path, capsys):
    remains = tmp_path / ".out.partial" / "train" / "clips-00000-of-00009.tfrecord"
    remains.parent.mkdir(parents=True)
    remains.touch()
    assert run(capsys, "--input", corpus, "--output", tmp_path / "out", "--preset", "tiny")[0] == 0
    assert contents(tmp_path / "out") == contents(made)


def test_mount_point_or_own_folder_in_a_foreign_one(corpus, made, tmp_path, capsys, monkeypatch):
    """What cannot be renamed is filled from within."""
    monkeypatch.setattr(output_folder, "_is_movable", lambda place: False)
    output = tmp_path / "out"
    output.mkdir()
    (output / "lost+found").mkdir()
    for extra in ((), ("--overwrite",)):
        assert run(capsys, "--input", corpus, "--output", output, "--preset", "tiny", *extra)[0] == 0
        assert contents(output) == contents(made)
        assert not (output / ".partial").exists()
    assert run(capsys, "--input", tmp_path, "--output", output, "--overwrite")[0] == 2
    assert contents(output) == contents(made) and not (output / ".partial").exists()


def test_lost_record_is_noticed(corpus, tmp_path, capsys, monkeypatch):
    """A storage that swallows every second file."""
    real = storage.put_in_place

    def forgetful(finished, path):
        real(finished, path)
        if path.endswith(".tfrecord"):
            Path(path).write_bytes(Path(path).read_bytes()[:-100])

    monkeypatch.setattr(storage, "put_in_place", forgetful)
    line = refused(capsys, tmp_path / "out", "--input", corpus, keeps_shards=True)
    assert "the storage lost or repeated some" in line
    monkeypatch.undo()
    # What is not whole is made again.
    assert run(capsys, "--input", corpus, "--output", tmp_path / "out")[0] == 0

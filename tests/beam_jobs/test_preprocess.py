"""The whole command on small real files: records, conservation, sameness, and one clear line for each bad input."""

import errno
import hashlib
import json
import re
import shutil

import numpy as np
import pytest
import simplejpeg
import tensorflow as tf

from beam_jobs import decode, output_folder, records
from beam_jobs.preprocess import main
from pemt_tf.config import load_config
from pemt_tf.data.dataset_card import DatasetCard
from pemt_tf.data.records import parse
from pemt_tf.features.audio import log_mel
from pemt_tf.features.decode import decode_clip
from tests import media


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Ten files: four containers, two labels, one without sound, one without pictures, three bad ones, one text."""
    root = tmp_path_factory.mktemp("corpus") / "videos"
    for number, suffix in enumerate([".mp4", ".webm", ".avi", ".mkv"]):
        label = ("dog", "cat")[number % 2]
        media.write_video(
            root / label / f"v{number}{suffix}", seconds=1.0 + 0.25 * number, fps=(25, 30, 24, 15)[number]
        )
    media.write_video(root / "silent.mp4", audio_codec=None, seconds=1)
    media.write_video(root / "unlabelled" / "blind.mp4", video_codec=None, seconds=1)
    media.not_media(root / "dog" / "broken.mp4")
    media.write_video(root / "short.mp4", seconds=0.2)
    media.cut(media.write_video(root / "cut.mkv", seconds=4), 0.3)
    (root / "readme.txt").write_text("hello")
    return root


def run(capsys, *arguments):
    """Exit code, standard output and standard error of the command."""
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def refused(capsys, output, *arguments):
    """Runs what must fail; returns the one line that it says. Nothing may be left that looks complete."""
    code, out, err = run(capsys, *arguments, "--output", output)
    assert code == 2 and out == ""
    lines = [line for line in err.splitlines() if " clips  " not in line]  # without the progress line
    assert len(lines) == 1 and lines[0].startswith("error: "), err
    assert not (output / "dataset_card.json").exists()
    assert not list(output.parent.glob(f".{output.name}*"))
    return lines[0]


def all_records(folder):
    card = DatasetCard.read(folder)
    for split in card.splits.values():
        for file in split.files:
            for serialized in tf.data.TFRecordDataset(str(folder / file)):
                yield tf.train.Example.FromString(serialized.numpy()), parse(serialized, card.geometry)


def jsonl(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def made(corpus, tmp_path_factory):
    output = tmp_path_factory.mktemp("made") / "data"
    assert main(["--input", str(corpus), "--output", str(output), "--preset", "tiny"]) == 0
    return output


def test_every_input_is_accounted_for(made):
    card = DatasetCard.read(made)
    assert (card.inputs, card.written) == (10, 6)
    assert card.filtered == {"not_media_suffix": 1}
    assert card.failed == {"open_failed": 1, "too_short": 1, "truncated": 1}
    assert {(row["id"], row["stage"], row["cause"]) for row in jsonl(made / "errors/failures.jsonl")} == {
        ("dog/broken.mp4", "decode", "open_failed"),
        ("short.mp4", "decode", "too_short"),
        ("cut.mkv", "decode", "truncated"),
    }
    assert [(row["id"], row["cause"]) for row in jsonl(made / "errors/filtered.jsonl")] == [
        ("readme.txt", "not_media_suffix")
    ]
    assert card.labels == ["cat", "dog"]
    assert sum(split.clips for split in card.splits.values()) == 6
    assert sum(split.with_video for split in card.splits.values()) == 5
    assert sum(split.with_audio for split in card.splits.values()) == 5
    assert sum(split.unlabelled for split in card.splits.values()) == 2


def test_only_the_data_set_is_left(made):
    kinds = {path.relative_to(made).parts[0] for path in made.rglob("*")}
    assert kinds <= {"train", "validation", "test", "errors", "config.json", "dataset_card.json"}
    assert list(made.parent.iterdir()) == [made]


def test_card_describes_the_files(made):
    card = DatasetCard.read(made)
    digest = hashlib.sha256()
    on_disk = sorted(str(path.relative_to(made)) for path in made.rglob("*.tfrecord"))
    listed = [file for split in card.splits.values() for file in split.files]
    assert sorted(listed) == on_disk
    for file in listed:
        digest.update((made / file).read_bytes())
    assert card.content_hash == digest.hexdigest()
    assert load_config(made / "config.json").geometry == card.geometry
    for name, split in card.splits.items():
        assert sum(1 for file in split.files for _ in tf.data.TFRecordDataset(str(made / file))) == split.clips, name


def test_records_hold_what_a_plain_decode_gives(made, corpus):
    geometry = DatasetCard.read(made).geometry
    seen = set()
    for example, parsed in all_records(made):
        name = parsed["id"].numpy().decode()
        seen.add(name)
        clip = decode_clip(str(corpus / name), geometry)
        assert parsed["path"].numpy().decode() == name
        assert parsed["has_video"].numpy() == (clip.jpegs is not None)
        assert parsed["has_audio"].numpy() == (clip.waveform is not None)
        if clip.jpegs is not None:
            assert parsed["jpegs"].numpy().tolist() == clip.jpegs
            shown = [media.read_number(simplejpeg.decode_jpeg(jpeg)) for jpeg in clip.jpegs]
            assert shown == sorted(shown) or geometry.segment_seconds * 4 > clip.end  # segments may overlap
            times = example.features.feature["image/timestamp"].int64_list.value
            np.testing.assert_allclose(np.array(times) / 1e6, clip.image_times, atol=1e-6)
        if clip.waveform is not None:
            np.testing.assert_allclose(parsed["log_mel"], np.asarray(log_mel(clip.waveform, geometry)), atol=1e-4)
        label = name.split("/")[0] if name.startswith(("dog/", "cat/")) else None
        assert [value.decode() for value in example.features.feature["clip/label/string"].bytes_list.value] == (
            [label] if label else []
        )
        assert parsed["label"].numpy() == (["cat", "dog"].index(label) if label else -1)
    assert seen == {"dog/v0.mp4", "cat/v1.webm", "dog/v2.avi", "cat/v3.mkv", "silent.mp4", "unlabelled/blind.mp4"}


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "dataset_card.json"  # which holds the command
    }


@pytest.mark.parametrize("extra", [(), ("--num_workers", "2"), ("--runner", "DirectRunner")])
def test_same_bytes_every_time(corpus, made, tmp_path, capsys, extra):
    code, _, _ = run(capsys, "--input", corpus, "--output", tmp_path / "again", "--preset", "tiny", *extra)
    assert code == 0
    assert contents(tmp_path / "again") == contents(made)
    assert DatasetCard.read(tmp_path / "again").content_hash == DatasetCard.read(made).content_hash


def test_manifest_and_overrides(corpus, tmp_path, capsys):
    rows = "path,label,start,end,split\nvideos/dog/v2.avi,x,0.25,1.25,train\nvideos/dog/v2.avi,x,,,test\n"
    (corpus.parent / "list.csv").write_text(rows)
    arguments = ("--input", corpus.parent / "list.csv", "--output", tmp_path / "out", "--set", "geometry.segments=2")
    code, out, _ = run(capsys, *arguments, "--shards_per_split", 1)
    assert code == 0 and "2 inputs = 2 written + 0 filtered + 0 failed" in out
    card = DatasetCard.read(tmp_path / "out")
    assert card.geometry.segments == 2
    assert {name: split.files for name, split in card.splits.items()} == {
        "train": ["train/clips-00000-of-00001.tfrecord"],
        "test": ["test/clips-00000-of-00001.tfrecord"],
    }
    parts = {
        parsed["id"].numpy().decode(): (parsed["start"], parsed["end"]) for _, parsed in all_records(tmp_path / "out")
    }
    np.testing.assert_allclose(parts["videos/dog/v2.avi#0.25-1.25"], (0.25, 1.25), atol=1e-6)
    np.testing.assert_allclose(parts["videos/dog/v2.avi"], (0.0, 1.5), atol=0.05)


@pytest.mark.parametrize(("policy", "kind"), [("skip", "filtered"), ("fail", "failed")])
def test_missing_streams(corpus, tmp_path, capsys, policy, kind):
    flags = (f"--on_missing_audio={policy}", f"--on_missing_video={policy}")
    assert run(capsys, "--input", corpus, "--output", tmp_path / "out", *flags)[0] == 0
    card = DatasetCard.read(tmp_path / "out")
    assert card.written == 4
    assert {cause: getattr(card, kind)[cause] for cause in ("no_audio", "no_video")} == {"no_audio": 1, "no_video": 1}


def test_vocabulary_of_another_data_set(corpus, made, tmp_path, capsys):
    root = tmp_path / "more"
    for label in ("dog", "cow"):
        (root / "test" / label).mkdir(parents=True)
        shutil.copy(corpus / "dog/v0.mp4", root / "test" / label / "a.mp4")
    line = refused(capsys, tmp_path / "out", "--input", root)
    assert "label 'cow' is in the test split but not in the train split" in line
    assert run(capsys, "--input", root, "--output", tmp_path / "out", "--labels_from", made)[0] == 0
    card = DatasetCard.read(tmp_path / "out")
    assert card.labels == ["cat", "dog"] and card.written == 1 and card.failed == {"unknown_label": 1}
    assert [parsed["label"].numpy() for _, parsed in all_records(tmp_path / "out")] == [1]


def test_crashing_decoder_costs_one_clip(corpus, tmp_path, capsys, monkeypatch):
    """A decoding process that dies on one file; the real one for all others."""
    child = tmp_path / "child.py"
    child.write_text(
        "import os\nfrom beam_jobs import decoder_child\nreal = decoder_child.decode_clip\n"
        "def decode_clip(path, *rest):\n"
        "    if path.endswith('v1.webm'): os.kill(os.getpid(), 11)\n"
        "    return real(path, *rest)\n"
        "decoder_child.decode_clip = decode_clip\ndecoder_child.main()\n"
    )
    original = decode.ExpendableDecoder

    def crashing(*arguments):
        return original(*arguments, command=(decode.sys.executable, str(child)))

    monkeypatch.setattr(records, "ExpendableDecoder", crashing)
    assert run(capsys, "--input", corpus, "--output", tmp_path / "out")[0] == 0
    card = DatasetCard.read(tmp_path / "out")
    assert card.failed == {"decoder_crash": 1, "open_failed": 1, "too_short": 1, "truncated": 1}
    assert card.written == 5


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
    line = refused(capsys, tmp_path / "out", "--input", corpus, "--max_bad_fraction", 0.2)
    assert "3 of 10 inputs failed (open_failed 1, too_short 1, truncated 1), more than --max_bad_fraction=0.2" in line


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--preset", "huge"), "no preset 'huge'"),
        (("--set", "geometry.segment=2"), "no field 'segment'"),
        (("--split_fractions", "train=2"), "must add up to 1"),
        (("--shard_per_split", "2"), "unknown option --shard_per_split"),
        (("--labels_from", "/nowhere"), "/nowhere is not a finished data set"),
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
    assert "is not empty and holds no data set of ours" in line
    assert (tmp_path / "out" / "thesis.txt").read_text() == "years of work"


def test_output_that_cannot_be_written(corpus, tmp_path, capsys):
    (tmp_path / "file").touch()
    line = refused(capsys, tmp_path / "file" / "out", "--input", corpus)
    assert "cannot" in line and "Not a directory" in line


def test_output_on_a_full_disk(corpus, tmp_path, capsys, monkeypatch):
    class FullDisk:
        def __init__(self, path):
            self.path = path

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def write(self, _):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(records.tf.io, "TFRecordWriter", FullDisk)
    line = refused(capsys, tmp_path / "out", "--input", corpus)
    assert re.fullmatch(
        r"error: cannot write \w+/clips-\d+-of-\d+\.tfrecord in .*/\.out\.partial: No space left on device; make room "
        r"there or choose another --output",
        line,
    )


def test_interrupted_job_leaves_nothing(corpus, tmp_path, capsys, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(records.ExpendableDecoder, "decode", interrupt)
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


def test_help_has_an_example(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    assert "python -m beam_jobs.preprocess --input videos/ --output data/" in capsys.readouterr().out


def test_lost_record_is_noticed(corpus, tmp_path, capsys, monkeypatch):
    """A storage that swallows every record."""
    real = records.tf.io.TFRecordWriter

    class Forgetful:
        def __init__(self, path):
            self._real = real(path)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self._real.close()

        def write(self, _):
            pass

    monkeypatch.setattr(records.tf.io, "TFRecordWriter", Forgetful)
    line = refused(capsys, tmp_path / "out", "--input", corpus)
    assert "clips of the" in line and "its files hold 0" in line

"""The whole command on small real files: records, conservation, the same bytes every time."""

import dataclasses
import hashlib
import json
import shutil

import numpy as np
import pytest
import simplejpeg
import tensorflow as tf

from beam_jobs.preprocess import main
from beam_jobs.worker import decoder_process, shard_maker
from pemt_tf.config import load_config
from pemt_tf.data.dataset_card import DatasetCard
from pemt_tf.data.records import parse
from pemt_tf.features import numpy_ops
from pemt_tf.features.spectrogram import log_mel
from pemt_tf.media.clip_decoder import decode_clip
from tests import media_files as media
from tests.beam_jobs.command import contents, refused, run


def all_records(folder):
    card = DatasetCard.read(folder)
    for split in card.splits.values():
        for file in split.files:
            for serialized in tf.data.TFRecordDataset(str(folder / file)):
                yield tf.train.Example.FromString(serialized.numpy()), parse(serialized, card.geometry)


def jsonl(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


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
    folders = {"train", "validation", "test", "stats", "errors", "outcomes"}
    files = {"index.parquet", "labels.txt", "schema.pbtxt", "duplicates.jsonl", "report.html"}
    assert kinds <= folders | files | {"config.json", "job.json", "dataset_card.json"}
    assert not list(made.rglob("*partial*")) and not (made / ".lock").exists()
    assert list(made.parent.iterdir()) == [made]


def test_card_describes_the_files(made):
    card = DatasetCard.read(made)
    on_disk = sorted(str(path.relative_to(made)) for path in made.rglob("*.tfrecord"))
    listed = [file for split in card.splits.values() for file in split.files]
    assert sorted(listed) == on_disk
    sums = "".join(f"{file} {hashlib.sha256((made / file).read_bytes()).hexdigest()}\n" for file in listed)
    assert card.content_hash == hashlib.sha256(sums.encode()).hexdigest()
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
            # Where there is next to no power, float32 rounding shows in the logarithm.
            np.testing.assert_allclose(parsed["log_mel"], np.asarray(log_mel(clip.waveform, geometry)), atol=1e-2)
            np.testing.assert_allclose(parsed["log_mel"], log_mel(clip.waveform, geometry, numpy_ops), atol=1e-3)
        label = name.split("/")[0] if name.startswith(("dog/", "cat/")) else None
        assert [value.decode() for value in example.features.feature["clip/label/string"].bytes_list.value] == (
            [label] if label else []
        )
        assert parsed["label"].numpy() == (["cat", "dog"].index(label) if label else -1)
    assert seen == {"dog/v0.mp4", "cat/v1.webm", "dog/v2.avi", "cat/v3.mkv", "silent.mp4", "unlabelled/blind.mp4"}


@pytest.mark.parametrize("extra", [(), ("--num_workers", "2"), ("--runner", "DirectRunner")])
def test_same_bytes_every_time(corpus, made, tmp_path, capsys, extra):
    code, _, _ = run(capsys, "--input", corpus, "--output", tmp_path / "again", "--preset", "tiny", *extra)
    assert code == 0
    assert contents(tmp_path / "again") == contents(made)
    assert DatasetCard.read(tmp_path / "again").content_hash == DatasetCard.read(made).content_hash


def test_manifest_and_overrides(corpus, tmp_path, capsys):
    rows = "path,label,start,end,split,group\nvideos/dog/v2.avi,x,0.25,1.25,train,a\nvideos/dog/v2.avi,x,,,test,b\n"
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
        "import os\nfrom beam_jobs.worker import decoder_child\nreal = decoder_child.decode_clip\n"
        "def decode_clip(path, *rest, **more):\n"
        "    if path.endswith('v1.webm'): os.kill(os.getpid(), 11)\n"
        "    return real(path, *rest, **more)\n"
        "decoder_child.decode_clip = decode_clip\ndecoder_child.main()\n"
    )
    original = decoder_process.ExpendableDecoder

    def crashing(*arguments):
        return original(*arguments, command=(decoder_process.sys.executable, str(child)))

    monkeypatch.setattr(shard_maker, "ExpendableDecoder", crashing)
    assert run(capsys, "--input", corpus, "--output", tmp_path / "out")[0] == 0
    card = DatasetCard.read(tmp_path / "out")
    assert card.failed == {"decoder_crash": 1, "open_failed": 1, "too_short": 1, "truncated": 1}
    assert card.written == 5


def test_help_has_an_example(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    assert "python -m beam_jobs.preprocess --input videos/ --output data/" in capsys.readouterr().out


def test_beam_counts_the_same(corpus, tmp_path):
    """The counters that a remote runner shows on its page."""
    import apache_beam as beam

    from beam_jobs.engines import beam_graph, beam_runners
    from beam_jobs.inputs.file_listing import list_inputs
    from beam_jobs.plan import shards as sharding
    from pemt_tf.config import Config

    clips = [dataclasses.replace(one, labels=(), split="train") for one in list_inputs(str(corpus)).clips]
    shards = sharding.write_plan(str(tmp_path), sharding.plan_shards(clips, 2))
    settings = sharding.ShardSettings(str(tmp_path), Config.from_preset("tiny").geometry, ())
    pipeline = beam.Pipeline(options=beam_runners.beam_options("FnApiRunner", None, []))
    beam_graph.build_graph(pipeline, shards, settings)
    result = pipeline.run()
    result.wait_until_finish()
    counters = {one.key.metric.name: one.committed for one in result.metrics().query()["counters"]}
    assert counters == {
        "inputs_written": 6,
        "inputs_failed": 3,
        "clips": 6,
        "cause_open_failed": 1,
        "cause_too_short": 1,
        "cause_truncated": 1,
    }
    (sizes,) = result.metrics().query()["distributions"]
    assert sizes.key.metric.name == "record_bytes" and sizes.committed.count == 6

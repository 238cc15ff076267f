"""`beam_jobs.convert` and `--format`: every form holds the same records, and other tools read what was written."""

from __future__ import annotations

import dataclasses
import io
import json
import re

import numpy as np
import pyarrow.parquet as pq
import pytest

from beam_jobs.conversion import shard_converter
from beam_jobs.convert import main
from beam_jobs.preprocess import main as preprocess
from pemt_tf.data.clip_source import ClipSource
from pemt_tf.data.dataset_card import DatasetCard
from pemt_tf.data.record_format import RecordFile, read_records
from pemt_tf.doctor.data_folder import check_data
from pemt_tf.errors import PemtError
from pemt_tf.formats.named import SUFFIXES, record_files
from pemt_tf.formats.record_files import RecordShape
from tests import media_files as media
from tests.beam_jobs.command import contents

OTHERS = ("webdataset", "parquet", "array_record")


def run(capsys, *arguments):
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def refusal(capsys, *arguments):
    code, out, err = run(capsys, *arguments)
    lines = [line for line in err.splitlines() if not re.match("clips |continuing", line)]
    assert code == 2 and out == "" and len(lines) == 1 and lines[0].startswith("error: "), err
    return lines[0]


@pytest.fixture(scope="module")
def converted(made, tmp_path_factory):
    """`made` in each of the other forms."""
    pytest.importorskip("array_record", reason="the extra `formats` is not installed")
    folder = tmp_path_factory.mktemp("converted")
    for form in OTHERS:
        assert main(["--input", str(made), "--output", str(folder / form), "--format", form]) == 0
    return folder


@pytest.fixture(scope="module")
def wanted(made):
    """Split to the ids and records of `made`, in the order of files and rows."""
    found = {}
    for split, card in DatasetCard.read(made).splits.items():
        found[split] = []
        for file in card.files:
            with (made / file).open("rb") as opened:
                found[split] += read_records(opened)
    ids = {}
    for row in pq.read_table(made / "index.parquet", columns=["split", "id"]).to_pylist():
        ids.setdefault(row["split"], []).append(row["id"])
    return {split: (ids[split], records) for split, records in found.items()}


def without_jobs(folder):
    return {name: content for name, content in contents(folder).items() if name != "job.json"}


@pytest.mark.parametrize("form", OTHERS)
def test_there_and_back_is_the_same_data_set(made, converted, tmp_path, form):
    back = tmp_path / "back"
    assert main(["--input", str(converted / form), "--output", str(back), "--format", "tfrecord"]) == 0
    assert without_jobs(back) == without_jobs(made)
    assert (back / "dataset_card.json").read_bytes() == (made / "dataset_card.json").read_bytes()
    assert "format" not in json.loads((back / "dataset_card.json").read_text())
    assert len(ClipSource.open(back).files["train"]) == len(DatasetCard.read(made).splits["train"].files)


@pytest.mark.parametrize("form", OTHERS)
def test_every_form_has_all_that_describes_a_data_set(made, converted, form):
    folder, suffix = converted / form, SUFFIXES[form]
    old, new = DatasetCard.read(made), DatasetCard.read(folder)
    files = {split: [file.replace(".tfrecord", suffix) for file in card.files] for split, card in old.splits.items()}
    same = dataclasses.replace(
        old,
        splits={split: dataclasses.replace(card, files=files[split]) for split, card in old.splits.items()},
        format=form,
        content_hash=new.content_hash,
    )
    assert new == same and new.content_hash != old.content_hash
    ours, theirs = (pq.read_table(each / "index.parquet") for each in (folder, made))
    assert ours.drop(["file"]).equals(theirs.drop(["file"]))
    assert ours["file"].to_pylist() == [file.replace(".tfrecord", suffix) for file in theirs["file"].to_pylist()]
    names = {name for name in contents(folder) if not name.startswith(("train/", "validation/", "test/"))}
    lacks = set() if form == "array_record" else {"schema.pbtxt"}
    more = {"README.md"} if form == "parquet" else set()
    assert names == {name for name in contents(made) if "/clips-" not in name} - lacks | more
    finding = check_data(folder)
    assert (finding.status, "clips" in finding.found) == ("ok", True), finding
    assert "python -m beam_jobs.convert" in finding.fix
    assert (folder / "report.html").read_text().count("<img") == (made / "report.html").read_text().count("<img") > 0


def test_training_says_how_to_convert(converted):
    with pytest.raises(PemtError, match=r"have the form parquet.*beam_jobs.convert --input .*--format tfrecord"):
        ClipSource.open(converted / "parquet")


def test_datasets_loads_the_folder(converted, wanted, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    found = datasets.load_dataset(str(converted / "parquet"), cache_dir=str(tmp_path))
    assert {split: list(rows["id"]) for split, rows in found.items()} == {
        split: ids for split, (ids, _) in wanted.items()
    }


def test_webdataset_and_grain_read_all_clips_in_the_order_of_the_index(made, converted, wanted):
    webdataset, grain = pytest.importorskip("webdataset"), pytest.importorskip("grain")
    card = DatasetCard.read(made)
    shape = RecordShape(card.geometry, card.payload)
    for split, (ids, records) in wanted.items():
        tars = [str(path) for path in sorted((converted / "webdataset" / split).glob("*.tar"))]
        samples = list(webdataset.WebDataset(tars, shardshuffle=False))
        assert [json.loads(sample["json"])["id"] for sample in samples] == ids
        for sample, record in zip(samples, records, strict=True):
            clip = shape.clip(record)
            assert [sample[name] for name in sorted(sample) if name.endswith(".jpg")] == (clip.jpegs or [])
            if clip.log_mel is not None:
                np.testing.assert_array_equal(np.load(io.BytesIO(sample["log_mel.npy"])), clip.log_mel)
        files = [str(path) for path in sorted((converted / "array_record" / split).glob("*.array_record"))]
        source = grain.sources.ArrayRecordDataSource(files)
        assert [source[row] for row in range(len(source))] == records


def test_an_interrupted_conversion_continues(made, converted, tmp_path, capsys, monkeypatch):
    real, output, done = shard_converter.Conversion.convert, tmp_path / "data", []

    def interrupted(conversion, shard):
        if done:
            raise KeyboardInterrupt
        done.append(shard.name)
        return real(conversion, shard)

    arguments = ("--input", made, "--output", output, "--format", "webdataset")
    with monkeypatch.context() as patch:
        patch.setattr(shard_converter.Conversion, "convert", interrupted)
        code, _, err = run(capsys, *arguments)
    assert code == 130 and "1 finished shards are kept" in err and not output.exists()
    assert "was started with other settings" in refusal(capsys, *arguments[:-1], "parquet")
    code, out, err = run(capsys, *arguments, "--num_workers", 2)
    assert code == 0 and "continuing: 1 of" in err
    assert contents(output) == contents(converted / "webdataset")
    assert "already holds a finished data set" in refusal(capsys, *arguments)
    code, out, _ = run(capsys, *arguments, "--resume")
    assert (code, out) == (0, "nothing to do: the data set is finished\n")


@pytest.mark.slow
def test_beam_converts_the_same(made, converted, tmp_path, capsys):
    code, out, _ = run(
        capsys, "--input", made, "--output", tmp_path / "d", "--format", "parquet", "--runner", "DirectRunner"
    )
    assert code == 0 and "from tfrecord to parquet; nothing was decoded" in out
    assert contents(tmp_path / "d") == contents(converted / "parquet")


def copy_of(folder, place):
    for name, content in {**contents(folder), "dataset_card.json": (folder / "dataset_card.json").read_bytes()}.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(content)
    return place


def test_what_cannot_be_converted_is_refused_in_one_line(made, tmp_path, capsys):
    there = ("--output", tmp_path / "out", "--format")
    assert "is already in the form tfrecord" in refusal(capsys, "--input", made, *there, "tfrecord")
    assert "is the input itself" in refusal(capsys, "--input", made, "--output", made, "--format", "parquet")
    assert "holds the input" in refusal(capsys, "--input", made, "--output", made.parent, "--format", "parquet")
    assert "is not a finished data set" in refusal(capsys, "--input", tmp_path, *there, "parquet")
    unknown = refusal(capsys, "--input", made, *there, "parquet", "--num_wokers=2", "--runner=local")
    assert "unknown option --num_wokers=2; " in unknown and unknown.endswith("did you mean --num_workers?")
    data = copy_of(made, tmp_path / "data")
    (statistics,) = sorted(data.glob("stats/test-*.json"))[:1]
    content = statistics.read_text()
    statistics.unlink()
    assert "has no statistics file" in refusal(capsys, "--input", data, *there, "parquet")
    statistics.write_text(content)
    (data / "outcomes" / "listed.jsonl").rename(tmp_path / "listed.jsonl")
    assert "lacks what describes a data set" in refusal(capsys, "--input", data, *there, "parquet")
    (tmp_path / "listed.jsonl").rename(data / "outcomes" / "listed.jsonl")
    (file,) = sorted(data.glob("train/*.tfrecord"))[:1]
    file.write_bytes(file.read_bytes() + b"\0")
    assert f"{file} is not the file that stats/" in refusal(capsys, "--input", data, *there, "parquet")
    assert not (tmp_path / "out").exists()


def test_a_record_of_another_program_is_only_converted_where_it_stays_as_it_is(made, tmp_path, capsys):
    data = copy_of(made, tmp_path / "data")
    file = sorted(data.glob("train/*.tfrecord"))[0]
    with file.open("rb") as opened:
        records = list(read_records(opened))
    with file.open("wb") as opened:
        writer = RecordFile(opened)
        for record in records:
            writer.write(record + b"\x0a\x00")  # one more, empty, map: the same message in other bytes
    statistics = data / "stats" / file.name.replace("clips-", "train-").replace(".tfrecord", ".json")
    values = {**json.loads(statistics.read_text()), "bytes": writer.bytes, "sha256": writer.sha256}
    statistics.write_text(json.dumps(values))
    there = ("--output", tmp_path / "out", "--format")
    said = refusal(capsys, "--input", data, *there, "webdataset")
    assert "record 0, clip " in said and "would not come back from webdataset byte by byte" in said
    pytest.importorskip("array_record")
    assert run(capsys, "--input", data, *there, "array_record")[0] == 0


def records_in(folder):
    """Every record of a data set, in the order of its card."""
    card = DatasetCard.read(folder)
    shape, form = RecordShape(card.geometry, card.payload), record_files(card.format)
    return [
        record for part in card.splits.values() for file in part.files for record in form.records(folder / file, shape)
    ]


@pytest.mark.slow
def test_preprocess_writes_a_form_that_duplicates_and_retries_keep(tmp_path, capsys):
    videos = tmp_path / "videos"
    media.write_video(videos / "train" / "a.mp4", seconds=1)
    media.write_video(videos / "test" / "b.mp4", seconds=1)
    (videos / "test" / "copy.mp4").write_bytes((videos / "train" / "a.mp4").read_bytes())
    media.not_media(videos / "train" / "later.mp4")
    for form in ("tfrecord", "parquet"):
        output = ("--output", str(tmp_path / form))
        flags = ("--format", form, "--drop_duplicates=all")
        media.not_media(videos / "train" / "later.mp4")
        assert preprocess(["--input", str(videos), *output, *flags]) == 0
        media.write_video(videos / "train" / "later.mp4", seconds=2)
        assert preprocess(["--retry_failed", str(tmp_path / form / "errors"), *output]) == 0
    capsys.readouterr()
    old, new = (DatasetCard.read(tmp_path / form) for form in ("tfrecord", "parquet"))
    assert new.filtered == {"duplicate": old.filtered["duplicate"]} and old.filtered["duplicate"] >= 1
    assert (new.clips, new.inputs, new.failed) == (old.clips, 4, {})
    assert records_in(tmp_path / "parquet") == records_in(tmp_path / "tfrecord")
    again = ["--retry_failed", str(tmp_path / "parquet" / "errors"), "--output", str(tmp_path / "x")]
    assert preprocess([*again, "--format", "tfrecord"]) == 2
    assert "--format cannot go with --retry_failed" in capsys.readouterr().err

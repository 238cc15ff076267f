"""The job against the model called directly, and what it does with what is broken."""

from __future__ import annotations

import json
import os
import re
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from beam_jobs.embed import main
from beam_jobs.embedding import files as embedding_files
from beam_jobs.embedding import model as embedding_model
from beam_jobs.embedding.model import SavedModelHandler
from beam_jobs.embedding.reading import ClipExample, RowPlace
from beam_jobs.worker.outcomes import OutcomeWatcher
from pemt_tf.data import records
from pemt_tf.data.dataset_card import DatasetCard
from pemt_tf.export.local_predictor import LocalPredictor
from pemt_tf.search.embedding_card import CARD_NAME, EmbeddingCard, model_hash
from tests import media_files as media
from tests.beam_jobs.memory_file_system import FILES
from tests.fake_dataset import WITHOUT_BOTH, fake_clips, replace_card, write_dataset


def run(capsys, *arguments):
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def refused(capsys, output, *arguments):
    """Runs what must fail; returns the one line that it says. Nothing may be left that looks complete."""
    code, out, err = run(capsys, *arguments, "--output", output)
    lines = [line for line in err.splitlines() if not line.startswith("clips ")]  # without the progress line
    assert (code, out, len(lines)) == (2, "", 1), err
    assert lines[0].startswith("error: ")
    assert not (output / CARD_NAME).exists()
    assert not list(output.parent.glob(f".{output.name}*"))
    return lines[0]


def read(folder):
    """Rows without their vectors, and the vectors; in the order of the card."""
    tables = [pq.read_table(folder / name) for name in EmbeddingCard.read(folder).files]
    table = pa.concat_tables(tables)
    return table.drop(["vector"]).to_pylist(), np.stack(table.column("vector").to_numpy())


def json_lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def of_records(dataset_directory, backbone_servable, tmp_path_factory):
    output = tmp_path_factory.mktemp("embedded") / "embeddings"
    arguments = ["--model", backbone_servable.parent, "--input", dataset_directory, "--output", output]
    assert main([*map(str, arguments), "--clips_per_file", "10"]) == 0
    return output


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Six good files, five that fail in different ways, a text."""
    root = tmp_path_factory.mktemp("videos") / "videos"
    for number, suffix in enumerate([".mp4", ".webm", ".avi", ".mkv"]):
        path = root / "train" / ("dog", "cat")[number % 2] / f"v{number}{suffix}"
        media.write_video(path, seconds=1.0 + 0.25 * number, fps=(25, 30, 24, 15)[number])
    media.write_video(root / "test" / "silent.mp4", audio_codec=None, seconds=1)
    media.write_video(root / "test" / "blind.mp4", video_codec=None, seconds=1)
    media.not_media(root / "test" / "broken.mp4")
    media.write_floats(root / "test" / "nan.wav", np.full(16_000, np.nan))
    media.write_video(root / "test" / "short.mp4", seconds=0.2)
    media.cut(media.write_video(root / "cut.mkv", seconds=4), 0.3)
    (root / "empty.mp4").write_bytes(b"")
    (root / "readme.txt").write_text("hello")
    return root


@pytest.fixture(scope="module")
def of_videos(videos, backbone_servable, tmp_path_factory):
    output = tmp_path_factory.mktemp("embedded") / "embeddings"
    assert main(["--model", str(backbone_servable), "--input", str(videos), "--output", str(output)]) == 0
    return output


@pytest.fixture
def quick_model(monkeypatch):
    """Answers at once: loading a model takes most of the time of a small job, and many tests are not about answers."""

    class Quick:
        def __init__(self, directory):
            self.directory = directory

        def answer(self, serialized):
            return {"embedding": np.array([[len(raw), 1.0] for raw in serialized], np.float32)}

    monkeypatch.setattr(embedding_model, "LocalPredictor", Quick)


# What comes out


def test_embeddings_of_records_are_the_models_own(of_records, backbone_servable, clip_source):
    model = tf.saved_model.load(str(backbone_servable)).signatures["serving_default"]
    files = [file for split in clip_source.files.values() for file in split]
    raw = list(tf.data.TFRecordDataset(files).as_numpy_iterator())
    examples = [tf.train.Example.FromString(each) for each in raw]
    flags = [[one.features.feature[f].int64_list.value[0] for f in ("has_video", "has_audio")] for one in examples]
    seeing = [number for number, there in enumerate(flags) if any(there)]
    expected = model(examples=tf.constant([raw[number] for number in seeing]))["embedding"].numpy()
    rows, vectors = read(of_records)
    assert len(seeing) == len(raw) - 2 == 19
    np.testing.assert_allclose(vectors, expected, atol=1e-5)
    ids = [examples[number].features.feature["clip/id"].bytes_list.value[0].decode() for number in seeing]
    assert [row["id"] for row in rows] == ids


def test_rows_tell_about_their_clips(of_records, small_config):
    rows, _ = read(of_records)
    clips = fake_clips(small_config.geometry, 12) + fake_clips(small_config.geometry, 9, first_seed=1000)
    about = {clip.clip_id: clip for clip in clips}
    for row in rows:
        clip = about[row["id"]]
        assert row["path"] == clip.data_path
        assert (row["start"], row["end"]) == (0.0, 10.0)
        assert row["label"] == (clip.labels[0] if clip.labels else None)
        assert row["split"] == ("test" if int(row["id"][-6:]) >= 1000 else "train")
        assert (row["has_video"], row["has_audio"]) == (clip.jpegs is not None, clip.log_mel is not None)


def test_types_of_the_columns(of_records, small_config):
    schema = pq.read_table(of_records / "vectors").schema
    assert schema.field("vector").type.list_size == small_config.model.hidden
    types = {name: str(schema.field(name).type) for name in schema.names if name != "vector"}
    texts = dict.fromkeys(("id", "path", "label", "split"), "string")
    assert types == {**texts, "start": "double", "end": "double", "has_video": "bool", "has_audio": "bool"}
    assert pa.types.is_float32(schema.field("vector").type.value_type)


def test_card_of_records(of_records, backbone_servable, dataset_directory, small_config):
    card = EmbeddingCard.read(of_records)
    assert (card.inputs, card.written, card.failed, card.filtered) == (21, 19, {"no_streams": 2}, {})
    assert list(card.files.values()) == [len(pq.read_table(of_records / name)) for name in card.files]
    assert len(card.files) > 1
    assert (card.model, card.model_hash) == (str(backbone_servable), model_hash(backbone_servable))
    assert (card.vector_size, card.geometry) == (small_config.model.hidden, small_config.geometry)
    assert (card.source_kind, card.source, card.source_hash) == ("records", str(dataset_directory), "f" * 64)
    assert card.command.startswith("python -m beam_jobs.embed --model ")
    failures = json_lines(of_records / "errors" / "failures.jsonl")
    expected = [f"fake-{seed:06d}" for seed in (WITHOUT_BOTH, 1000 + WITHOUT_BOTH)]
    assert [failure["id"] for failure in failures] == expected
    assert {failure["cause"] for failure in failures} == {"no_streams"}
    assert sorted(path.name for path in of_records.iterdir()) == ["embeddings.json", "errors", "vectors"]


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(("--batch_size", 1), id="one_by_one"),
        pytest.param(("--batch_size", 5, "--num_workers", 2), id="threads"),
        pytest.param(
            ("--num_workers", 2, "--direct_running_mode", "multi_processing"), marks=pytest.mark.slow, id="processes"
        ),
    ],
)
def test_batches_and_workers_do_not_change_the_result(
    capsys, tmp_path, of_records, dataset_directory, backbone_servable, arguments
):
    where = ("--model", backbone_servable, "--input", dataset_directory, "--output", tmp_path / "e")
    code, _, err = run(capsys, *where, "--clips_per_file", 10, *arguments)
    assert code == 0, err
    rows, vectors = read(tmp_path / "e")
    expected_rows, expected = read(of_records)
    assert rows == expected_rows
    np.testing.assert_allclose(vectors, expected, atol=1e-5)
    cards = [EmbeddingCard.read(folder) for folder in (tmp_path / "e", of_records)]
    assert cards[0].files == cards[1].files


def test_one_split(capsys, tmp_path, quick_model, dataset_directory, backbone_servable):
    where = ("--model", backbone_servable, "--input", dataset_directory, "--output", tmp_path / "e")
    code, out, _ = run(capsys, *where, "--split", "test")
    assert code == 0
    assert "9 inputs = 8 written + 0 filtered + 1 failed" in out
    assert {row["split"] for row in read(tmp_path / "e")[0]} == {"test"}
    assert "has no split 'dev'" in refused(capsys, tmp_path / "f", *where[:4], "--split", "dev")


def test_embeddings_of_videos_are_those_of_their_records(of_videos, videos, backbone_servable):
    rows, vectors = read(of_videos)
    predictor = LocalPredictor(backbone_servable)
    assert len(rows) == 6
    for row, vector in zip(rows, vectors, strict=True):
        direct = predictor.answer([predictor.record_of(str(videos / row["path"]))])["embedding"][0]
        np.testing.assert_allclose(vector, direct, atol=1e-5)
    about = {row["id"]: row for row in rows}
    assert about["train/cat/v3.mkv"]["label"] == "cat" and about["train/cat/v3.mkv"]["split"] == "train"
    assert about["train/cat/v3.mkv"]["end"] == pytest.approx(1.75, abs=0.1)
    assert about["test/silent.mp4"]["label"] is None
    assert (about["test/silent.mp4"]["has_video"], about["test/silent.mp4"]["has_audio"]) == (True, False)
    assert (about["test/blind.mp4"]["has_video"], about["test/blind.mp4"]["has_audio"]) == (False, True)


def test_every_video_is_accounted_for(of_videos, videos):
    card = EmbeddingCard.read(of_videos)
    assert (card.inputs, card.written, card.filtered) == (12, 6, {"not_media_suffix": 1})
    causes = {failure["id"]: failure["cause"] for failure in json_lines(of_videos / "errors" / "failures.jsonl")}
    assert causes == {
        "cut.mkv": "truncated",
        "empty.mp4": "open_failed",
        "test/broken.mp4": "open_failed",
        "test/nan.wav": "bad_samples",
        "test/short.mp4": "too_short",
    }
    assert card.failed == {"bad_samples": 1, "open_failed": 2, "too_short": 1, "truncated": 1}
    assert [row["cause"] for row in json_lines(of_videos / "errors" / "filtered.jsonl")] == ["not_media_suffix"]
    assert (card.source_kind, card.source, card.root) == ("videos", str(videos), str(videos))


def test_names_that_are_not_utf8_and_folders_that_may_not_be_read(
    capsys, tmp_path, monkeypatch, quick_model, videos, backbone_servable
):
    root, look = tmp_path / os.fsdecode(b"vid\xe9os"), os.scandir
    for name in (b"caf\xe9/a.mp4", b"dog/br\xf6ken.mp4", b"closed/b.mp4"):
        (root / os.fsdecode(name)).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(videos / "test" / "silent.mp4", root / os.fsdecode(b"caf\xe9/a.mp4"))
    shutil.copy(videos / "test" / "broken.mp4", root / os.fsdecode(b"dog/br\xf6ken.mp4"))

    def scandir(path="."):
        if str(path).endswith("/closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return look(path)

    monkeypatch.setattr(os, "scandir", scandir)
    code, out, err = run(capsys, "--model", backbone_servable, "--input", root, "--output", tmp_path / "e")
    assert code == 0 and "3 inputs = 1 written + 0 filtered + 2 failed" in out, err
    (row,) = read(tmp_path / "e")[0]
    assert (row["id"], row["path"], row["label"]) == (r"caf\xe9/a.mp4", r"caf\xe9/a.mp4", r"caf\xe9")
    failures = {line["id"]: line["cause"] for line in json_lines(tmp_path / "e" / "errors" / "failures.jsonl")}
    assert failures == {r"dog/br\xf6ken.mp4": "open_failed", "closed": "not_found"}
    card = EmbeddingCard.read(tmp_path / "e")
    assert card.root == card.source == rf"{tmp_path}/vid\xe9os"


def test_stretches_of_a_manifest(capsys, tmp_path, videos, backbone_servable):
    manifest = videos / "list.csv"
    manifest.write_text("path,start,end,label\ntrain/cat/v3.mkv,0.5,1.5,meow\ntrain/dog/v0.mp4,,,\n")
    code, _, err = run(capsys, "--model", backbone_servable, "--input", manifest, "--output", tmp_path / "e")
    manifest.unlink()
    assert code == 0, err
    rows, vectors = read(tmp_path / "e")
    predictor = LocalPredictor(backbone_servable)
    direct = predictor.answer([predictor.record_of(str(videos / "train/cat/v3.mkv"), 0.5, 1.5)])["embedding"][0]
    np.testing.assert_allclose(vectors[0], direct, atol=1e-5)
    assert (rows[0]["label"], rows[1]["label"]) == ("meow", None)
    assert EmbeddingCard.read(tmp_path / "e").root == str(videos)


def test_other_file_systems(capsys, tmp_path, of_videos, videos, backbone_servable):
    FILES.clear()
    for root, base in ((videos, "mem://bucket/videos"), (backbone_servable.parent, "mem://bucket/servable")):
        files = [path for path in root.rglob("*") if path.is_file()]
        FILES.update({f"{base}/{path.relative_to(root).as_posix()}": path.read_bytes() for path in files})
    where = ("--model", "mem://bucket/servable", "--input", "mem://bucket/videos", "--output", "mem://bucket/e")
    code, _, err = run(capsys, *where)
    assert code == 0, err
    for path, data in FILES.items():
        if path.startswith("mem://bucket/e/"):
            copy = tmp_path / "e" / path.removeprefix("mem://bucket/e/")
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(data)
    assert read(tmp_path / "e")[0] == read(of_videos)[0]
    np.testing.assert_allclose(read(tmp_path / "e")[1], read(of_videos)[1], atol=1e-5)
    card = EmbeddingCard.read(tmp_path / "e")
    assert (card.root, card.model) == ("mem://bucket/videos", "mem://bucket/servable")
    assert not [path for path in FILES if "outcomes" in path or "plan" in path]
    assert "already holds finished embeddings" in run(capsys, *where)[2]
    FILES.clear()


def test_the_model_is_loaded_once_a_process(capsys, tmp_path, monkeypatch, dataset_directory, backbone_servable):
    loads = []

    class Counted(LocalPredictor):
        def __init__(self, directory):
            loads.append(directory)
            super().__init__(directory)

    monkeypatch.setattr(embedding_model, "LocalPredictor", Counted)
    where = ("--model", backbone_servable, "--input", dataset_directory, "--output", tmp_path / "e")
    assert run(capsys, *where, "--num_workers", 2)[0] == 0
    assert len(loads) == 1


# What is broken


@pytest.mark.parametrize("workers", [1, 2])
def test_progress_moves_with_every_batch(
    capsys, tmp_path, monkeypatch, quick_model, dataset_directory, backbone_servable, workers
):
    """What the progress line would count is noted when the next batch begins, not at the end of the job."""
    noted, real = [], SavedModelHandler.run_inference

    def watched(self, batch, model, inference_args=None):
        noted.append(sum(OutcomeWatcher(str(tmp_path / ".e.partial" / "progress")).counts().values()))
        return real(self, batch, model, inference_args)

    monkeypatch.setattr(SavedModelHandler, "run_inference", watched)
    flags = ("--output", tmp_path / "e", "--batch_size", 2, "--num_workers", workers)
    code, _, err = run(capsys, "--model", backbone_servable, "--input", dataset_directory, *flags)
    assert code == 0 and re.search(r"^clips 21/21, .*19 ok, 2 bad$", err, re.M), err
    assert len(noted) >= 10  # 19 clips, two at a time
    behind = [2 * batch - count for batch, count in enumerate(noted)]
    assert max(behind) <= 2 * workers, noted


@pytest.fixture
def records_with(tmp_path, small_config):
    """Makes a data set of some clips and of raw records besides."""

    def make(clips, raw=()):
        folder = write_dataset(tmp_path / "records", small_config.geometry, {"train": clips}, shards=1)
        file = folder / DatasetCard.read(folder).splits["train"].files[0]
        with tf.io.TFRecordWriter(str(file)) as writer:
            for each in [*(records.serialize(clip, small_config.geometry) for clip in clips), *raw]:
                writer.write(each)
        card = DatasetCard.read(folder)
        count = len(clips) + len(raw)
        split = card.splits["train"].__class__(**{**vars(card.splits["train"]), "clips": count})
        replace_card(folder, splits={"train": split}, inputs=count, written=count)
        return folder

    return make


def test_one_bad_record_does_not_spoil_its_batch(capsys, tmp_path, small_config, backbone_servable, records_with):
    geometry = small_config.geometry
    good = [records.get_fake_clip(geometry, seed) for seed in range(5)]
    broken_picture = tf.train.Example.FromString(records.serialize(records.get_fake_clip(geometry, 10), geometry))
    broken_picture.features.feature["image/encoded"].bytes_list.value[2] = b"no picture"
    few_pictures = tf.train.Example.FromString(records.serialize(records.get_fake_clip(geometry, 11), geometry))
    del few_pictures.features.feature["image/encoded"].bytes_list.value[-1]
    raw = [broken_picture.SerializeToString(), few_pictures.SerializeToString(), b"\xff\xffnot a record", b""]
    folder = records_with(good, raw)
    code, out, err = run(capsys, "--model", backbone_servable, "--input", folder, "--output", tmp_path / "e")
    assert code == 0, err
    assert "failed: bad_record 4" in out and "9 inputs = 5 written + 0 filtered + 4 failed" in out
    assert [row["id"] for row in read(tmp_path / "e")[0]] == [clip.clip_id for clip in good]
    failures = {row["id"]: row for row in json_lines(tmp_path / "e" / "errors" / "failures.jsonl")}
    assert failures["fake-000010"]["stage"] == "model"
    assert "5 frames" in failures["fake-000011"]["detail"] and "6" in failures["fake-000011"]["detail"]
    predictor = LocalPredictor(backbone_servable)
    direct = predictor.answer([records.serialize(clip, geometry) for clip in good])["embedding"]
    np.testing.assert_allclose(read(tmp_path / "e")[1], direct, atol=1e-5)


def test_numbers_that_are_not_finite_are_failures():
    class Model:
        def answer(self, serialized):
            return {"embedding": np.array([[1.0, 2.0], [np.nan, 1.0], [np.inf, 1.0]], np.float32)}

    batch = [ClipExample(RowPlace(0, 0, index), {"id": str(index)}, b"") for index in range(3)]
    results = list(SavedModelHandler("nowhere", 3).run_inference(batch, Model()))
    assert [(result.cause, result.vector is None) for result in results] == [
        ("", False),
        ("not_finite", True),
        ("not_finite", True),
    ]
    np.testing.assert_array_equal(np.frombuffer(results[0].vector, "<f4"), [1.0, 2.0])


def test_another_geometry_is_refused_with_both_values(capsys, tmp_path, backbone_servable, dataset_directory):
    other = tmp_path / "other"
    shutil.copytree(dataset_directory, other)
    geometry = DatasetCard.read(other).geometry
    replace_card(other, geometry=geometry.__class__(**{**vars(geometry), "mel_bins": 24}))
    line = refused(capsys, tmp_path / "e", "--model", backbone_servable, "--input", other)
    assert "mel_bins" in line and "16" in line and "24" in line


def test_another_payload_is_refused(capsys, tmp_path, backbone_servable, dataset_directory):
    other = tmp_path / "other"
    shutil.copytree(dataset_directory, other)
    replace_card(other, payload="sequence_example")
    line = refused(capsys, tmp_path / "e", "--model", backbone_servable, "--input", other)
    assert "sequence_example" in line and "--payload=example" in line


def test_a_damaged_record_file_stops_the_job(capsys, tmp_path, quick_model, backbone_servable, dataset_directory):
    other = tmp_path / "other"
    shutil.copytree(dataset_directory, other)
    file = other / DatasetCard.read(other).splits["train"].files[0]
    media.damage(file, 0.5, 0.6)
    line = refused(capsys, tmp_path / "e", "--model", backbone_servable, "--input", other)
    assert str(file) in line and "preprocess again" in line


def test_records_that_are_missing_stop_the_job(capsys, tmp_path, quick_model, backbone_servable, dataset_directory):
    other = tmp_path / "other"
    shutil.copytree(dataset_directory, other)
    file = other / DatasetCard.read(other).splits["test"].files[0]
    raw = list(tf.data.TFRecordDataset(str(file)).as_numpy_iterator())
    with tf.io.TFRecordWriter(str(file)) as writer:
        for each in raw[1:]:
            writer.write(each)
    line = refused(capsys, tmp_path / "e", "--model", backbone_servable, "--input", other)
    assert "split 'test' holds 8 clips, but its data card says 9" in line


@pytest.mark.parametrize("change", ["lost", "twice"])
def test_lost_and_repeated_clips_are_noticed(
    capsys, tmp_path, monkeypatch, quick_model, backbone_servable, dataset_directory, change
):
    """A runner that drops or repeats an element."""
    process = embedding_files.NoteProgress.process

    def unreliable(self, result):
        outcomes = list(process(self, result))
        if result.about["id"] == "fake-000003":
            return [] if change == "lost" else outcomes * 2
        return outcomes

    monkeypatch.setattr(embedding_files.NoteProgress, "process", unreliable)
    line = refused(capsys, tmp_path / "e", "--model", backbone_servable, "--input", dataset_directory)
    assert ("20 arrived and 0 of them" if change == "lost" else "21 arrived and 1 of them") in line


def test_too_many_failures(capsys, tmp_path, quick_model, backbone_servable):
    media.write_video(tmp_path / "in" / "good.mp4", seconds=1)
    for name in "abc":
        media.not_media(tmp_path / "in" / f"{name}.mp4")
    arguments = ("--model", backbone_servable, "--input", tmp_path / "in")
    line = refused(capsys, tmp_path / "e", *arguments, "--max_bad_fraction", 0.7)
    assert "3 of 4 inputs failed (open_failed 3)" in line and "--max_bad_fraction=0.7" in line


def test_nothing_but_failures(capsys, tmp_path, quick_model, backbone_servable):
    media.not_media(tmp_path / "in" / "a.mp4")
    line = refused(capsys, tmp_path / "e", "--model", backbone_servable, "--input", tmp_path / "in")
    assert "no clip could be embedded: 1 of 1 inputs failed (open_failed 1)" in line


def test_no_model(capsys, tmp_path, dataset_directory):
    line = refused(capsys, tmp_path / "e", "--model", tmp_path, "--input", dataset_directory)
    assert "is not a SavedModel" in line
    line = refused(capsys, tmp_path / "e", "--model", "mem://bucket/none", "--input", dataset_directory)
    assert "mem://bucket/none" in line


@pytest.mark.parametrize(
    ("arguments", "part"),
    [(("--no_such_flag", "1"), "--no_such_flag"), (("--template_location", "x", "--runner=DataflowRunner"), "")],
)
def test_bad_flags(capsys, tmp_path, dataset_directory, backbone_servable, arguments, part):
    line = refused(capsys, tmp_path / "e", "--model", backbone_servable, "--input", dataset_directory, *arguments)
    assert part in line


def test_output_is_guarded(capsys, tmp_path, quick_model, of_records, dataset_directory, backbone_servable):
    arguments = ("--model", backbone_servable, "--input", dataset_directory, "--split", "test")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    assert "is not empty" in run(capsys, *arguments, "--output", tmp_path / "mine")[2]
    shutil.copytree(of_records, tmp_path / "e")
    code, _, err = run(capsys, *arguments, "--output", tmp_path / "e")
    assert code == 2 and "already holds finished embeddings" in err
    assert EmbeddingCard.read(tmp_path / "e").inputs == 21
    assert run(capsys, *arguments, "--output", tmp_path / "e", "--overwrite")[0] == 0
    assert EmbeddingCard.read(tmp_path / "e").inputs == 9
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_remains_of_a_killed_job_do_no_harm(capsys, tmp_path, quick_model, dataset_directory, backbone_servable):
    remains = tmp_path / ".e.partial"
    (remains / "vectors").mkdir(parents=True)
    (remains / "vectors" / "embeddings-00000-of-00001.parquet").write_bytes(b"half")
    (remains / "outcomes").mkdir()
    (remains / "outcomes" / "00007.json").write_text("{}")
    arguments = ("--model", backbone_servable, "--input", dataset_directory, "--output", tmp_path / "e")
    assert run(capsys, *arguments)[0] == 0
    assert sorted(path.name for path in (tmp_path / "e").iterdir()) == ["embeddings.json", "errors", "vectors"]
    assert not remains.exists()


def test_help_has_an_example(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    assert "python -m beam_jobs.embed --model servable/" in capsys.readouterr().out


def test_a_failed_write_says_where(capsys, tmp_path, quick_model, monkeypatch, dataset_directory, backbone_servable):
    def full(*arguments, **keywords):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(embedding_files.pq, "write_table", full)
    line = refused(capsys, tmp_path / "e", "--model", backbone_servable, "--input", dataset_directory)
    assert "cannot write vectors/embeddings-00000-of-00001.parquet" in line and "No space left" in line

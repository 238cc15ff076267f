"""What stands beside the records: index, statistics, labels, schema; and the other forms of clips and records."""

import csv
import io
import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from PIL import Image

from pemt_tf.config import Config
from pemt_tf.data.dataset_card import DatasetCard
from pemt_tf.data.records import parse
from tests import media_files as media
from tests.beam_jobs.command import run


def examples(folder, kind=tf.train.Example):
    for split in DatasetCard.read(folder).splits.values():
        for file in split.files:
            for raw in tf.data.TFRecordDataset(str(folder / file)).as_numpy_iterator():
                yield file, kind.FromString(raw)


def test_index_tells_of_every_record(made):
    rows = pq.read_table(made / "index.parquet").to_pylist()
    stored = list(examples(made))
    assert len(rows) == len(stored) == 6
    position: dict[str, int] = {}
    for row, (file, example) in zip(rows, stored, strict=True):
        features = example.features.feature
        assert row["id"] == features["clip/id"].bytes_list.value[0].decode()
        assert (row["file"], row["row"]) == (file, position.setdefault(file, 0))
        position[file] += 1
        assert row["bytes"] == example.ByteSize() and row["split"] == file.split("/")[0]
        assert row["start"] == pytest.approx(features["clip/start/timestamp"].int64_list.value[0] / 1e6, abs=1e-6)
        assert row["has_video"] == bool(features["has_video"].int64_list.value[0]) == (row["picture_hash"] is not None)
        assert row["has_audio"] == bool(features["has_audio"].int64_list.value[0]) == (row["sound_hash"] is not None)
    by_id = {row["id"]: row for row in rows}
    assert by_id["dog/v2.avi"]["source_frame_rate"] == 24 and by_id["dog/v2.avi"]["label"] == "dog"
    assert (by_id["silent.mp4"]["source_width"], by_id["silent.mp4"]["source_height"]) == (64, 48)
    assert by_id["silent.mp4"]["loudness_db"] is None and by_id["unlabelled/blind.mp4"]["motion"] is None
    assert by_id["unlabelled/blind.mp4"]["source_sample_rate"] == 48_000


def test_every_shard_has_statistics(made):
    card = DatasetCard.read(made)
    found = [json.loads(path.read_text()) for path in (made / "stats").glob("*.json")]
    assert {one["file"] for one in found if one["clips"]} == {file for s in card.splits.values() for file in s.files}
    assert sum(one["clips"] for one in found) == card.written
    assert sum(one["inputs"] for one in found) == card.inputs - card.filtered["not_media_suffix"]
    assert sum(sum(one["failed"].values()) for one in found) == sum(card.failed.values())
    assert sum(one["has_audio"] for one in found) == 5
    for one in found:
        assert one["bytes"] == ((made / one["file"]).stat().st_size if one["clips"] else 0)


def test_labels_and_schema(made):
    assert (made / "labels.txt").read_text() == "cat\ndog\n"
    schema_pb2 = pytest.importorskip(
        "tensorflow_metadata.proto.v0.schema_pb2", reason="TensorFlow Metadata is not here"
    )
    from google.protobuf import text_format

    schema = text_format.Parse((made / "schema.pbtxt").read_text(), schema_pb2.Schema())
    assert list(schema.string_domain[0].value) == ["cat", "dog"]
    kinds = {schema_pb2.BYTES: "bytes_list", schema_pb2.INT: "int64_list", schema_pb2.FLOAT: "float_list"}
    for _, example in examples(made):
        features = example.features.feature
        assert set(features) <= {feature.name for feature in schema.feature}
        for feature in schema.feature:
            if feature.name not in features:
                assert feature.presence.min_fraction == 0
                continue
            values = getattr(features[feature.name], kinds[feature.type]).value
            assert feature.value_count.min <= len(values) <= feature.value_count.max, feature.name


def test_schema_of_odd_labels(tmp_path, capsys):
    pytest.importorskip("tensorflow_metadata", reason="TensorFlow Metadata is not here")
    from google.protobuf import text_format
    from tensorflow_metadata.proto.v0 import schema_pb2

    labels = ['say "hi"', "naïve\\", "日本"]
    for label in labels:
        media.write_video(tmp_path / "in" / label / "a.mp4", seconds=0.6)
    assert run(capsys, "--input", tmp_path / "in", "--output", tmp_path / "out")[0] == 0
    schema = text_format.Parse((tmp_path / "out" / "schema.pbtxt").read_text(), schema_pb2.Schema())
    assert list(schema.string_domain[0].value) == sorted(labels)


def test_windows(tmp_path, capsys):
    media.write_video(tmp_path / "in" / "film.mp4", seconds=5.3, fps=25)
    media.write_video(tmp_path / "in" / "short.mp4", seconds=1)
    flags = ("--plan", "windows", "--window", 2, "--stride", 1.5)
    code, out, _ = run(capsys, "--input", tmp_path / "in", "--output", tmp_path / "out", *flags)
    assert code == 0 and "2 inputs = 1 written + 0 filtered + 1 failed" in out
    card = DatasetCard.read(tmp_path / "out")
    assert (card.inputs, card.written, card.clips, card.failed) == (2, 1, 3, {"too_short": 1})
    assert card.plan == {"kind": "windows", "window": 2.0, "stride": 1.5}
    geometry = Config.from_preset("tiny").geometry
    places = []
    for _, example in examples(tmp_path / "out"):
        parsed = parse(example.SerializeToString(), geometry)
        places.append((parsed["id"].numpy().decode(), float(parsed["start"]), float(parsed["end"])))
        shown = [media.read_number(tf.io.decode_jpeg(jpeg).numpy()) for jpeg in parsed["jpegs"].numpy()]
        # Segments of 0.5 s spread over 2 s, from the window's start: at 25 pictures a second, the number at 8 Hz.
        begins = places[-1][1] + np.arange(4) * (2 - 0.5) / 3
        moments = (begins[:, None] + np.arange(4) / 8).ravel()
        assert shown == [int(np.floor((moment + 1e-3) * 25)) for moment in moments]
    assert places == [("film.mp4#0-2", 0, 2), ("film.mp4#1.5-3.5", 1.5, 3.5), ("film.mp4#3-5", 3, 5)]


def test_silent_and_frozen_clips(tmp_path, capsys):
    def still(number, height, width):
        return media.numbered_picture(7, height, width)

    media.write_video(tmp_path / "in" / "good.mp4")
    media.write_video(tmp_path / "in" / "mute.mp4", tone=lambda t: 0 * t)
    media.write_video(tmp_path / "in" / "still.mp4", picture=still)
    code, out, _ = run(capsys, "--input", tmp_path / "in", "--output", tmp_path / "out")
    assert code == 0 and "flagged: 1 clips silent, 1 frozen" in out
    flags = {
        row["id"]: (row["silent"], row["frozen"]) for row in pq.read_table(tmp_path / "out/index.parquet").to_pylist()
    }
    assert flags == {"good.mp4": (False, False), "mute.mp4": (True, False), "still.mp4": (False, True)}
    skip = ("--on_silent", "skip", "--on_frozen", "skip")
    assert run(capsys, "--input", tmp_path / "in", "--output", tmp_path / "out2", *skip)[0] == 0
    card = DatasetCard.read(tmp_path / "out2")
    assert (card.written, card.filtered) == (1, {"frozen": 1, "silent": 1})


def test_what_a_manifest_says_is_carried_along(tmp_path, capsys):
    media.write_video(tmp_path / "a.mp4", seconds=3)
    rows = [
        {"path": "a.mp4", "id": "first", "labels": "x|y", "start": 0, "end": 1.5, "scene": "kitchen"},
        {"path": "a.mp4", "id": "second", "labels": "y", "start": 1.5, "end": 3, "scene": ""},
    ]
    with (tmp_path / "list.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    arguments = ("--input", tmp_path / "list.csv", "--output", tmp_path / "out", "--plan", "segments")
    code, out, _ = run(capsys, *arguments, "--split_fractions", "train=1", "--store_waveform", "--jpeg_quality", 60)
    assert code == 0 and "columns of the manifest that are carried along: scene" in out
    found = {}
    for _, example in examples(tmp_path / "out"):
        features = example.features.feature
        found[features["clip/id"].bytes_list.value[0].decode()] = features
        assert len(features["WAVEFORM/feature/floats"].float_list.value) == 4 * 8000
        for jpeg in features["image/encoded"].bytes_list.value:
            # The first step of the standard's table for brightness is 16, at quality 60 times 0.8.
            assert Image.open(io.BytesIO(jpeg)).quantization[0][0] == 13
    assert set(found) == {"first", "second"}
    assert found["first"]["clip/label/string"].bytes_list.value[:] == [b"x", b"y"]
    assert found["first"]["clip/label/index"].int64_list.value[:] == [0, 1]
    assert found["first"]["clip/extra/scene"].bytes_list.value[:] == [b"kitchen"]
    assert "clip/extra/scene" not in found["second"]
    rows = {row["id"]: row for row in pq.read_table(tmp_path / "out" / "index.parquet").to_pylist()}
    assert rows["first"]["labels"] == ["x", "y"] and rows["first"]["extra"] == [("scene", "kitchen")]


def test_sequence_examples_hold_the_same(corpus, made, tmp_path, capsys):
    flags = ("--preset", "tiny", "--payload", "sequence_example")
    assert run(capsys, "--input", corpus, "--output", tmp_path / "out", *flags)[0] == 0
    geometry = DatasetCard.read(made).geometry
    assert DatasetCard.read(tmp_path / "out").payload == "sequence_example"
    plain = [parse(one.SerializeToString(), geometry) for _, one in examples(made)]
    sequences = [one.SerializeToString() for _, one in examples(tmp_path / "out", tf.train.SequenceExample)]
    assert len(plain) == len(sequences) == 6
    for one, other in zip(plain, sequences, strict=True):
        for name, value in parse(other, geometry, "sequence_example").items():
            np.testing.assert_array_equal(value, one[name], err_msg=name)


def test_dry_run_writes_nothing_and_counts(corpus, made, tmp_path, capsys):
    code, out, _ = run(capsys, "--input", corpus, "--preset", "tiny", "--dry_run", "--output", tmp_path / "out")
    assert code == 0 and list(tmp_path.iterdir()) == []
    said = dict(line.split(": ", 1) for line in out.splitlines() if ": " in line)
    card = DatasetCard.read(made)
    assert "all 9 tried" in out and said["all 9 tried"].startswith("6 written, 3 not")
    assert int(said["clips"]) == card.clips
    seconds = sum(split.seconds for split in card.splits.values())
    assert float(said["hours of clips"]) == pytest.approx(seconds / 3600, rel=0.01)
    stored = sum(json.loads(path.read_text())["bytes"] for path in (made / "stats").glob("*"))
    assert float(said["GB of records"]) == pytest.approx(stored / 1e9, rel=0.02)


def test_dry_run_of_many_is_a_sample(tmp_path, capsys):
    for number in range(40):
        media.write_video(tmp_path / "in" / f"v{number}.mp4", seconds=0.6)
    code, out, _ = run(capsys, "--input", tmp_path / "in", "--dry_run")
    assert code == 0 and "40 inputs, 0 labels" in out and "a sample of 16 tried: 16 written" in out
    assert "clips: about 40 (40 to 40)" in out

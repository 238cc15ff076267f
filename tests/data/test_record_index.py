"""Where records begin and whose they are, without their frames; damage is named by file and place."""

import dataclasses
import struct
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from pemt_tf.data import record_index, records
from pemt_tf.data.record_index import RecordIndex
from pemt_tf.errors import PemtError
from tests.fake_dataset import WITHOUT_AUDIO, WITHOUT_BOTH, WITHOUT_LABEL, WITHOUT_VIDEO, fake_clips

COUNT = 10


def write(path, serialized):
    with tf.io.TFRecordWriter(str(path)) as writer:
        for one in serialized:
            writer.write(one)
    return str(path)


def upside_down(serialized):
    """The same Example with its features in the opposite order, as other writers may have them."""
    feature = tf.train.Example.FromString(serialized).features.feature
    entries = [
        tf.train.Features(feature={name: feature[name]}).SerializeToString() for name in sorted(feature, reverse=True)
    ]
    body = b"".join(entries)
    length = bytearray()
    number = len(body)
    while number > 0x7F:
        length.append(number & 0x7F | 0x80)
        number >>= 7
    return b"\x0a" + bytes([*length, number]) + body


@pytest.mark.parametrize("form", ["example", "sequence_example", "upside_down", "with_waveform"])
def test_what_it_finds(tmp_path, small_config, form):
    geometry = small_config.geometry
    clips = fake_clips(geometry, COUNT)
    if form == "with_waveform":
        sound = np.zeros((geometry.segments, geometry.samples_per_segment), np.float32)
        clips = [dataclasses.replace(clip, waveform=sound, data_path="long/" * 2000) for clip in clips]
    payload = form if form in records.PAYLOADS else records.EXAMPLE
    serialized = [records.serialize(clip, geometry, payload) for clip in clips]
    if form == "upside_down":
        serialized = list(map(upside_down, serialized))
    files = [write(tmp_path / "a", serialized[:4]), write(tmp_path / "b", []), write(tmp_path / "c", serialized[4:])]
    index = RecordIndex.of(files)
    assert index.sizes == (4, 0, 6)
    assert index.ids.tolist() == [f"fake-{number:06d}" for number in range(COUNT)]
    assert index.labels.tolist() == [-1 if n == WITHOUT_LABEL else n % 3 for n in range(COUNT)]
    assert index.has["visual"].tolist() == [n not in (WITHOUT_VIDEO, WITHOUT_BOTH) for n in range(COUNT)]
    assert index.has["audio"].tolist() == [n not in (WITHOUT_AUDIO, WITHOUT_BOTH) for n in range(COUNT)]
    for number, offset in enumerate(index.offsets):
        data = Path(files[0 if number < 4 else 2]).read_bytes()
        (length,) = struct.unpack_from("<Q", data, offset)
        assert data[offset + 12 : offset + 12 + length] == serialized[number]


def test_a_file_that_was_replaced_is_read_again(tmp_path, small_config):
    serialized = [records.serialize(clip, small_config.geometry) for clip in fake_clips(small_config.geometry, 3)]
    file = write(tmp_path / "a", serialized[:2])
    assert RecordIndex.of([file]).sizes == (2,)
    write(tmp_path / "a", serialized)
    assert RecordIndex.of([file]).sizes == (3,)


def test_damage_is_named(tmp_path, small_config):
    serialized = [records.serialize(clip, small_config.geometry) for clip in fake_clips(small_config.geometry, 2)]
    file = Path(write(tmp_path / "a", serialized))
    whole, second = file.read_bytes(), len(serialized[0]) + 16
    for damaged in (whole[:-5], whole[: second + 7], whole[:second] + b"junk" + whole[second + 4 :]):
        file.write_bytes(damaged)
        with pytest.raises(PemtError, match=rf"{file} is damaged: record 1, at byte {second}, .* preprocess"):
            RecordIndex.of([str(file)])
    for other in (b"no proto at all", b"", tf.train.Example().SerializeToString(), b"\x0a" + b"\xff" * 40):
        with pytest.raises(PemtError, match="holds something else than a clip"):
            RecordIndex.of([write(file, [other])])
    with pytest.raises(PemtError, match=r"cannot read .*gone"):
        RecordIndex.of([str(tmp_path / "gone")])


def test_the_index_of_the_data_set_spares_opening_the_files(tmp_path, small_config, monkeypatch):
    """Unless a file is no longer the one that it lists."""
    clips = fake_clips(small_config.geometry, COUNT)
    clips[6] = dataclasses.replace(clips[6], labels=("label0", "label2", "label1"), label_indices=(0, 2, 1))
    serialized = [records.serialize(clip, small_config.geometry) for clip in clips]
    (tmp_path / "train").mkdir()
    files = [write(tmp_path / "train/a", serialized[:4]), write(tmp_path / "train/b", serialized[4:])]
    read = RecordIndex.of(files)
    rows = [
        {
            "file": "train/a" if number < 4 else "train/b",
            "bytes": len(serialized[number]),
            "label": (clip.labels or (None,))[0],
            "labels": list(clip.labels),
            "has_video": clip.jpegs is not None,
            "has_audio": clip.log_mel is not None,
            "id": clip.clip_id,
        }
        for number, clip in enumerate(clips)
    ]
    other = [{**rows[0], "file": "test/c"}]
    pq.write_table(pa.Table.from_pylist([*other, *rows]), tmp_path / "index.parquet")
    opened = []
    index_file = record_index._index
    monkeypatch.setattr(record_index, "_index", lambda file: opened.append(file) or index_file(file))
    data = tmp_path, ("label0", "label1", "label2")

    def assert_same(listed):
        assert listed.sizes == read.sizes and listed.ids.tolist() == read.ids.tolist()
        assert listed.offsets.tolist() == read.offsets.tolist() and listed.labels.tolist() == read.labels.tolist()
        assert all((listed.has[name] == read.has[name]).all() for name in ("visual", "audio"))
        assert listed.further_labels == read.further_labels == {6: (2, 1)}
        rows, labels = listed.pairs(every_label=True)
        assert sorted(zip(rows.tolist(), labels.tolist(), strict=True))[6:9] == [(6, 0), (6, 1), (6, 2)]
        assert [rows[labels == 1].tolist() for rows, labels in [listed.pairs(every_label=False)]] == [[1, 4, 7]]

    assert_same(RecordIndex.of(files, *data))
    assert opened == []
    pq.write_table(pa.Table.from_pylist([{**row, "bytes": row["bytes"] + (n < 1)} for n, row in enumerate(rows)]),
                   tmp_path / "index.parquet")  # fmt: skip
    assert_same(RecordIndex.of(files, *data))
    assert opened == [files[0]]
    (tmp_path / "index.parquet").write_bytes(b"damaged")
    assert_same(RecordIndex.of(files, *data))
    assert opened[1:] == files

"""Each form of record files gives back the bytes of its records, and the tools that it is for read them."""

from __future__ import annotations

import contextlib
import io
import json
import resource
import sys

import numpy as np
import pytest

from pemt_tf.config import Config
from pemt_tf.data.clip_reader import read_clip
from pemt_tf.errors import PemtError
from pemt_tf.formats import parquet_files
from pemt_tf.formats.named import SUFFIXES, record_files
from pemt_tf.formats.record_files import FORMATS, RecordShape
from tests.fake_records import plain_clip, plain_clips, plain_records

GEOMETRY = Config.from_preset("tiny").geometry
LABELS = ("cat", "dog")
SHAPE = RecordShape(GEOMETRY, "example", LABELS, with_waveform=True)


def form(name):
    if name == "array_record":
        pytest.importorskip("array_record", reason="the extra `formats` is not installed")
    return record_files(name)


def written(folder, name, records, shape=SHAPE):
    path = folder / f"clips{SUFFIXES[name]}"
    sink = form(name).sink(path, f"train/clips-00000-of-00002{SUFFIXES[name]}", shape)
    for record in records:
        sink.write(memoryview(record))
    sink.close()
    assert sink.digest()[0] == path.stat().st_size
    return path


@pytest.mark.parametrize("payload", ["example", "sequence_example"])
@pytest.mark.parametrize("name", FORMATS)
def test_records_come_back_byte_by_byte(tmp_path, monkeypatch, name, payload):
    monkeypatch.setattr(parquet_files, "GROUP_BYTES", 40_000)  # several row groups
    shape = RecordShape(GEOMETRY, payload, LABELS, with_waveform=True)
    records = plain_records(GEOMETRY, payload)
    path = written(tmp_path, name, records, shape)
    for first in (0, 1, 4, 6):
        assert list(form(name).records(path, shape, first)) == records[first:]
    (tmp_path / "again").mkdir()
    assert written(tmp_path / "again", name, records, shape).read_bytes() == path.read_bytes()


@contextlib.contextmanager
def largest_file(size):
    """A file of more bytes cannot be written, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("group", [1, 2**24], ids=["while writing", "at the end"])
@pytest.mark.parametrize("name", FORMATS)
def test_what_cannot_be_written_is_an_error_of_the_system_however_often_it_is_closed(
    tmp_path, monkeypatch, name, group
):
    monkeypatch.setattr(parquet_files, "GROUP_BYTES", group)
    sink = form(name).sink(tmp_path / "clips", f"train/clips-00000-of-00001{SUFFIXES[name]}", SHAPE)
    faults = []

    def attempt(step, *arguments):
        try:
            step(*arguments)
        except Exception as fault:
            faults.append(fault)

    with largest_file(20_000):
        for record in plain_records(GEOMETRY):
            attempt(sink.write, record)
            if faults:
                break
        attempt(sink.close)
        attempt(sink.close)
    assert faults and all(isinstance(fault, OSError) and "File too large" in str(fault) for fault in faults), faults


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_that_was_cut_off_is_not_taken_for_a_shorter_one(tmp_path, name):
    path = written(tmp_path, name, plain_records(GEOMETRY))
    content = path.read_bytes()
    for share in (0.3, 0.6, 0.9):
        path.write_bytes(content[: int(share * len(content))])
        with pytest.raises(ValueError):
            list(form(name).records(path, SHAPE))


def test_a_damaged_header_is_not_the_end_of_a_tar(tmp_path):
    path = written(tmp_path, "webdataset", plain_records(GEOMETRY))
    content = bytearray(path.read_bytes())
    content[content.index(b"train-00000-of-00002-000002.json")] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"the header at byte \d+ is damaged"):
        list(form("webdataset").records(path, SHAPE))


def test_webdataset_reads_our_tars(tmp_path):
    webdataset = pytest.importorskip("webdataset")
    clips = plain_clips(GEOMETRY)
    path = written(tmp_path, "webdataset", plain_records(GEOMETRY))
    samples = list(webdataset.WebDataset(str(path), shardshuffle=False).decode())
    assert [sample["__key__"] for sample in samples] == [f"train-00000-of-00002-{row:06d}" for row in range(6)]
    for sample, clip in zip(samples, clips, strict=True):
        about = sample["json"]
        assert (about["id"], about["path"]) == (clip.clip_id, clip.data_path)
        assert (about["start"], about["end"], about["frame_times"]) == (clip.start, clip.end, clip.image_times)
        assert (about["labels"], about["extra"]) == (list(clip.labels), dict(clip.extra))
        frames = [sample[f"{number:03d}.jpg"] for number in range(16) if f"{number:03d}.jpg" in sample]
        assert [bytes(frame) for frame in frames] == (clip.jpegs or [])
        for part, array in (("log_mel.npy", clip.log_mel), ("waveform.npy", clip.waveform)):
            assert (part in sample) == (array is not None)
            if array is not None:
                np.testing.assert_array_equal(sample[part], array, strict=True)
    pictures = next(iter(webdataset.WebDataset(str(path), shardshuffle=False).decode("pil")))
    assert pictures["015.jpg"].size == (32, 24)


def test_datasets_reads_our_parquet(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    clips = plain_clips(GEOMETRY)
    path = written(tmp_path, "parquet", plain_records(GEOMETRY))
    found = datasets.load_dataset("parquet", data_files=str(path), split="train", cache_dir=str(tmp_path / "cache"))
    assert found["id"] == [clip.clip_id for clip in clips]
    assert found.features["label"].names == ["cat", "dog"]
    assert found["label"] == [1, 1, 1, 1, None, 1]
    assert found[0]["frames"][3].size == (32, 24), "frames are decoded"
    kinds = found.features.copy()
    kinds["frames"] = type(kinds["frames"])(datasets.Image(decode=False))
    for row, clip in zip(found.cast(kinds), clips, strict=True):
        assert (row["start"], row["end"], row["labels"]) == (clip.start, clip.end, list(clip.labels))
        frames = None if row["frames"] is None else [frame["bytes"] for frame in row["frames"]]
        assert frames == clip.jpegs
        assert json.loads(row["extra"] or "{}") == dict(clip.extra)
        for name, array in (("log_mel", clip.log_mel), ("waveform", clip.waveform)):
            assert (row[name] is None) == (array is None)
            if array is not None:
                np.testing.assert_array_equal(np.array(row[name], np.float32).reshape(array.shape), array)


def test_grain_reads_our_array_records(tmp_path):
    grain = pytest.importorskip("grain")
    sources = pytest.importorskip("grain.sources") if hasattr(grain, "sources") else grain.python
    clips, records = plain_clips(GEOMETRY), plain_records(GEOMETRY)
    source = sources.ArrayRecordDataSource([str(written(tmp_path, "array_record", records))])
    assert len(source) == 6
    assert [source[row] for row in (5, 0, 3)] == [records[row] for row in (5, 0, 3)]
    loaded = list(grain.MapDataset.source(source).shuffle(seed=1).map(lambda raw: read_clip(raw, GEOMETRY)))
    assert sorted(clip.clip_id for clip in loaded) == sorted(clip.clip_id for clip in clips)
    for clip in loaded:
        (same,) = [one for one in clips if one.clip_id == clip.clip_id]
        assert clip.jpegs == same.jpegs
        np.testing.assert_array_equal(clip.log_mel, same.log_mel)


def test_a_missing_package_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "array_record.python", None)
    with pytest.raises(PemtError, match=r"need the package array-record.*pip install 'pemt-tf\[formats\]'"):
        record_files("array_record").require()


def test_parquet_refuses_a_waveform_that_it_has_no_column_for(tmp_path):
    record = plain_records(GEOMETRY)[5]
    with pytest.raises(ValueError, match="has a waveform"):
        written(tmp_path, "parquet", [record], RecordShape(GEOMETRY, "example", LABELS))


def test_the_log_mel_member_is_a_plain_array(tmp_path):
    clip = plain_clip(GEOMETRY, 0)
    path = written(tmp_path, "webdataset", [SHAPE.record(clip)])
    content = path.read_bytes()
    start = content.index(b"\x93NUMPY")
    found = np.load(io.BytesIO(content[start:]))
    np.testing.assert_array_equal(found, clip.log_mel)

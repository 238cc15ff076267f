"""Clips that are missing, too many or doubled are noticed before anything is read, with and without an index."""

from __future__ import annotations

import dataclasses
import shutil
import struct
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pemt_tf.data import record_count
from pemt_tf.data.clip_source import ClipSource
from pemt_tf.data.few_labels import few_labelled
from pemt_tf.data.input_pipeline import evaluation_clips, training_clips
from pemt_tf.errors import PemtError
from pemt_tf.report.clip_views import read_clip_views
from tests.fake_dataset import fake_clips, write_dataset


def lengths(path) -> list[int]:
    """Of the records of a file: 8 bytes length, 4 bytes checksum, the record, 4 bytes checksum."""
    data, found, place = path.read_bytes(), [], 0
    while place < len(data):
        (length,) = struct.unpack_from("<Q", data, place)
        found.append(length)
        place += 16 + length
    return found


ABOUT = {
    "label": None,
    "labels": [],
    "has_video": True,
    "has_audio": True,
    "id": "",
}  # the other columns, not looked at here


def write_index(folder) -> None:
    rows = [
        {"file": path.relative_to(folder).as_posix(), "bytes": length, **ABOUT}
        for path in sorted(folder.glob("*/clips-*.tfrecord"))
        for length in lengths(path)
    ]
    pq.write_table(pa.Table.from_pylist(rows), folder / record_count.INDEX_NAME)


@pytest.fixture(params=[False, True], ids=["without-index", "with-index"])
def data(request, tmp_path, dataset_directory):
    """A copy of 9 test clips, five and four in two files; to be damaged."""
    folder = shutil.copytree(dataset_directory, tmp_path / "data")
    if request.param:
        write_index(folder)
    return folder


FIRST, SECOND, EMPTY = (f"test/clips-0000{number}-of-00003.tfrecord" for number in range(3))


def cut(folder):
    path = folder / FIRST
    path.write_bytes(path.read_bytes()[: -16 - lengths(path)[-1]])


def empty(folder):
    (folder / FIRST).write_bytes(b"")


def append(folder):
    with (folder / SECOND).open("ab") as file:
        file.write((folder / FIRST).read_bytes())


def add(folder):
    shutil.copy(folder / FIRST, folder / "test/clips-00009-of-00003.tfrecord")


def refill(folder):
    shutil.copy(folder / SECOND, folder / EMPTY)


@pytest.mark.parametrize(("damage", "found"), [(cut, 8), (empty, 4), (append, 14), (add, 14), (refill, 13)])
def test_both_numbers_are_told(data, damage, found):
    damage(data)
    source = ClipSource.open(data)
    message = rf"split 'test' holds {found} clips, but its data card says 9\b"
    for read in (
        lambda: evaluation_clips(source, "test", 4),
        lambda: training_clips(source, "test", 4, seed=0),
        lambda: few_labelled(source, "test", 1, seed=0),
    ):
        with pytest.raises(PemtError, match=message):
            read()
    source.require_readable("train")  # the other split is whole


def test_a_file_in_the_place_of_another_is_noticed(tmp_path, small_config):
    """As many clips as the card says, but some of them twice."""
    clips = [clip for clip in fake_clips(small_config.geometry, 16) if clip.jpegs is None] * 2
    clips = [dataclasses.replace(clip, clip_id=name) for clip, name in zip(clips, "abcd", strict=False)]
    folder = write_dataset(tmp_path / "data", small_config.geometry, {"train": clips})
    ClipSource.open(folder).require_readable("train")
    one, other = (folder / f"train/clips-0000{number}-of-00003.tfrecord" for number in range(2))
    shutil.copy(one, other)
    with pytest.raises(PemtError, match=r"clips-00001.* holds the same clips as train/clips-00000"):
        ClipSource.open(folder).require_readable("train")


def test_nothing_is_counted_where_sizes_are_those_of_the_index(tmp_path, dataset_directory, monkeypatch):
    folder = shutil.copytree(dataset_directory, tmp_path / "data")
    write_index(folder)

    def refuse(path):
        raise AssertionError(f"{path} was opened")

    monkeypatch.setattr(record_count, "count_records", refuse)
    ClipSource.open(folder).require_whole("test")
    changed = folder / SECOND
    changed.write_bytes(changed.read_bytes() + b"x")
    with pytest.raises(AssertionError, match="was opened"):
        ClipSource.open(folder).require_whole("test")


def test_a_pass_that_gives_fewer_clips_than_the_card_says(clip_source):
    """Where files cannot be looked at before, as in a bucket."""
    clip_source.require_count("test", 9)
    clip_source.require_count("test", 8, labelled=True)
    clip_source.require_count("unknown", 1)
    with pytest.raises(PemtError, match="holds 7 clips, but its data card says 8 with a label"):
        clip_source.require_count("test", 7, labelled=True)


def test_clips_to_show_are_read_from_damaged_files_with_one_sentence(tmp_path, dataset_directory, small_config):
    path = Path(shutil.copy(dataset_directory / FIRST, tmp_path))
    content = bytearray(path.read_bytes())
    offset = 16 + struct.unpack_from("<Q", content, 0)[0]
    content[offset + 100] ^= 1
    path.write_bytes(content)
    with pytest.raises(PemtError, match=rf"^{path}: record 1, at byte {offset}, is damaged"):
        read_clip_views(ClipSource({}, small_config.geometry, (), "records"), [path])

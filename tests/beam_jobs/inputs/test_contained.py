"""Videos inside of tars and Parquet files, and folders with metadata: what is listed, and what becomes of it."""

from __future__ import annotations

import io
import json
import tarfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam_jobs.inputs import members
from beam_jobs.inputs.selection import list_source
from beam_jobs.plan.shards import plan_shards
from beam_jobs.preprocess import main
from pemt_tf.data.dataset_card import DatasetCard
from pemt_tf.data.record_format import read_records
from pemt_tf.errors import PemtError
from pemt_tf.formats.record_files import RecordShape
from tests import media_files as media


def tar_of(path, contents):
    """A tar of names and bytes; a name that ends in a slash is a folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in contents:
            member = tarfile.TarInfo(name)
            if name.endswith("/"):
                member.type = tarfile.DIRTYPE
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def read(clip):
    with members.local_file(clip.path) as path, open(path, "rb") as file:  # noqa: PTH123
        return file.read()


def told(clips):
    return [(clip.name, clip.labels, clip.split) for clip in clips]


def test_a_tar_has_labels_beside_its_videos(tmp_path):
    path = tar_of(
        tmp_path / "train-0001.tar",
        [
            ("a.mp4", b"one"),
            ("a.json", json.dumps({"label": "dog", "start": 1, "end": 2.5, "camera": "north", "path": "x/y"}).encode()),
            ("b.cls", b"3\n"),
            ("b.webm", b"two"),
            ("cat/", b""),
            ("cat/c.long.mp4", b"three"),
            ("cat/c.txt", b"a caption"),
            ("d.json", b'{"label": "lonely"}'),
            ("two.mp4", b"four"),
            ("two.wav", b"five"),
            (".hidden.mp4", b"six"),
        ],
    )
    listing = list_source(str(path))
    assert told(listing.clips) == [
        ("train-0001.tar/a.mp4", ("dog",), "train"),
        ("train-0001.tar/b.webm", ("3",), "train"),
        ("train-0001.tar/cat/c.long.mp4", ("cat",), "train"),
        ("train-0001.tar/two.mp4", (), "train"),
        ("train-0001.tar/two.wav", (), "train"),
    ]
    assert [read(clip) for clip in listing.clips] == [b"one", b"two", b"three", b"four", b"five"]
    first = listing.clips[0]
    assert (first.clip_id, first.start, first.end) == ("train-0001.tar/a.mp4#1-2.5", 1.0, 2.5)
    assert first.extra == (("camera", "north"), ("source_path", "x/y"))
    assert listing.extra_columns == ("camera", "source_path")
    assert listing.clips[3].group_name == listing.clips[4].group_name, "one sample is never in two splits"
    assert [(file.name, file.cause) for file in listing.filtered] == [
        ("train-0001.tar/cat/c.txt", "not_media_suffix"),
        ("train-0001.tar/d.json", "not_media_suffix"),
        ("train-0001.tar/.hidden.mp4", "hidden"),
    ]


@pytest.mark.parametrize("given", ["", "*.tar", "**/*.tar", "part-{00..02}.tar"])
def test_several_tars_are_one_input(tmp_path, given):
    for number in range(3):
        tar_of(tmp_path / f"part-{number:02d}.tar", [(f"{number}/v.mp4", b"%d" % number)])
    listing = list_source(str(tmp_path / given))
    assert told(listing.clips) == [(f"part-{n:02d}.tar/{n}/v.mp4", (str(n),), None) for n in range(3)]
    assert [read(clip) for clip in listing.clips] == [b"0", b"1", b"2"]


def test_the_split_of_a_tar_is_that_of_its_folder(tmp_path):
    tar_of(tmp_path / "val" / "x.tar", [("dog/a.mp4", b"1")])
    tar_of(tmp_path / "train" / "x.tar", [("dog/a.mp4", b"1")])
    assert told(list_source(str(tmp_path)).clips) == [
        ("train/x.tar/dog/a.mp4", ("dog",), "train"),
        ("val/x.tar/dog/a.mp4", ("dog",), "validation"),
    ]


def test_a_damaged_tar_gives_what_is_before_the_damage_and_one_failure(tmp_path):
    path = tar_of(tmp_path / "x.tar", [(f"{number}.mp4", b"x" * 600) for number in range(4)])
    whole = path.read_bytes()
    for damaged, clips in ((whole[: whole.index(b"3.mp4") + 700], 4), (whole.replace(b"2.mp4", b"9.mp4"), 2)):
        path.write_bytes(damaged)
        listing = list_source(str(path))
        assert len(listing.clips) == clips
        (lost,) = listing.unreadable
        assert (lost.name, lost.cause) == ("x.tar", "not_found") and f"after {clips - 1}.mp4" in lost.detail
    path.write_bytes(whole[: whole.index(b"3.mp4") + 700])
    last = list_source(str(path)).clips[-1]
    with pytest.raises(OSError, match="ends 412 bytes before the end of this member"):
        read(last)


def test_each_video_has_the_label_of_its_own_name(tmp_path):
    def said(label):
        return json.dumps({"label": label, "url": "u"}).encode()

    dotted = [("my.v1.mp4", b"1"), ("my.v1.json", said("cat")), ("my.v2.mp4", b"2"), ("my.v2.json", said("dog"))]
    others = [("b.mp4", b"3"), ("c.mp4", b"4"), ("b.json", said("cow")), ("b.info.json", said("x")), ("c.cls", b"7")]
    listing = list_source(str(tar_of(tmp_path / "x.tar", [*dotted, *others, ("/owl/d.mp4", b"5")])))
    assert [(clip.name, clip.labels) for clip in listing.clips] == [
        ("x.tar/my.v1.mp4", ("cat",)),
        ("x.tar/my.v2.mp4", ("dog",)),
        ("x.tar/b.mp4", ("cow",)),
        ("x.tar/c.mp4", ("7",)),
        ("x.tar/owl/d.mp4", ("owl",)),
    ]
    assert [file.name for file in listing.filtered] == ["x.tar/b.info.json"] and not listing.notes
    with pytest.raises(PemtError, match=r"a\.x\.json and a\.y\.json may both be meant for a\.mp4"):
        list_source(str(tar_of(tmp_path / "x.tar", [("a.mp4", b""), ("a.x.json", said("x")), ("a.y.json", said("y"))])))


def test_clips_after_the_end_mark_of_a_tar_or_without_it_are_missed_aloud(tmp_path):
    whole = tar_of(tmp_path / "x.tar", [("a.mp4", b"x" * 600)]).read_bytes()
    for content, said in ((whole + whole, "more follows its end mark"), (whole[:1536], "its end mark is missing")):
        (tmp_path / "x.tar").write_bytes(content)
        listing = list_source(str(tmp_path / "x.tar"))
        assert len(listing.clips) == 1 and said in listing.unreadable[0].detail


def test_what_is_wrong_in_a_tar_is_one_line(tmp_path):
    for content, said in ((b"{", "a.json is not JSON"), (b"[1]", "a.json is not a JSON object")):
        with pytest.raises(PemtError, match=said):
            list_source(str(tar_of(tmp_path / "x.tar", [("a.json", content), ("a.mp4", b"")])))
    with pytest.raises(PemtError, match="have the same id"):
        list_source(str(tar_of(tmp_path / "x.tar", [("a.mp4", b"1"), ("b.mp4", b"1"), ("a.mp4", b"2")])))
    with pytest.raises(PemtError, match=r"names .*x-1.tar, which is not there"):
        tar_of(tmp_path / "x-0.tar", [("a.mp4", b"1")])
        list_source(str(tmp_path / "x-{0..1}.tar"))
    (tmp_path / "z.tar.gz").write_bytes(b"x")
    with pytest.raises(PemtError, match=r"z\.tar\.gz is a compressed tar.*decompress it first"):
        list_source(str(tmp_path / "z.tar.gz"))
    (tmp_path / "y.tar").write_bytes(b"no tar" * 400)
    with pytest.raises(PemtError, match=r"1 file could not be read \(y.tar: the tar cannot be read on after its start"):
        list_source(str(tmp_path / "y.tar"))


def test_tars_beside_videos_are_named_and_not_opened(tmp_path):
    tar_of(tmp_path / "x.tar", [("a.mp4", b"1")])
    (tmp_path / "b.mp4").write_bytes(b"2")
    listing = list_source(str(tmp_path))
    assert [clip.name for clip in listing.clips] == ["b.mp4"]
    assert any("1 file like x.tar beside the media files are not opened" in note for note in listing.notes)


def parquet_of(path, table, rows_per_group=2, features=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    if features:
        metadata = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
        table = table.replace_schema_metadata(metadata)
    pq.write_table(table, path, row_group_size=rows_per_group)
    return path


def test_parquet_of_datasets(tmp_path):
    rows = [{"bytes": b"%d" % number, "path": f"v{number}.mp4"} for number in range(5)]
    table = pa.table({"video": rows, "label": [0, 1, -1, None, 1], "note": ["a", None, "c", "d", "e"]})
    names = {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}
    path = parquet_of(tmp_path / "data" / "test-00000-of-00001.parquet", table, features=names)
    listing = list_source(str(tmp_path / "data"))
    name = "test-00000-of-00001.parquet/row-000000{0}/v{0}.mp4"
    labels = [("cat",), ("dog",), (), (), ("dog",)]
    assert told(listing.clips) == [(name.format(row), labels[row], "test") for row in range(5)]
    assert [read(listing.clips[row]) for row in (4, 0, 1, 3, 2)] == [b"4", b"0", b"1", b"3", b"2"]
    assert [clip.extra for clip in listing.clips[:2]] == [(("note", "a"),), ()]
    assert told(list_source(str(path)).clips) == told(listing.clips)
    assert told(list_source(str(tmp_path / "data" / "*.parquet")).clips) == told(listing.clips)


def test_rows_of_a_group_are_dealt_to_record_files_together(tmp_path):
    rows = 64
    parquet_of(tmp_path / "x.parquet", pa.table({"bytes": [b"x"] * rows, "split": ["train"] * rows}), 8)
    plan = plan_shards(list_source(str(tmp_path / "x.parquet")).clips, 8)
    groups = [{json.loads(clip.path.partition(":")[2])[4] for clip in clips} for _, clips in plan]
    assert [len(clips) for _, clips in plan] == [8] * 8
    assert sorted(group for one in groups for group in one) == list(range(8)), "each is read for one record file only"


def test_parquet_columns(tmp_path):
    bytes_and_path = pa.table({"path": ["dog/a.mp4"], "bytes": [b"1"], "labels": [["dog", "cat"]], "id": ["one"]})
    (clip,) = list_source(str(parquet_of(tmp_path / "x.parquet", bytes_and_path))).clips
    assert (clip.clip_id, clip.labels, read(clip)) == ("one", ("dog", "cat"), b"1")
    assert clip.name == "x.parquet/row-0000000/a.mp4"
    with pytest.raises(PemtError, match="several columns of bytes: a, b"):
        list_source(str(parquet_of(tmp_path / "x.parquet", pa.table({"a": [b"1"], "b": [b"2"]}))))
    (clip,) = list_source(str(parquet_of(tmp_path / "x.parquet", pa.table({"anything": [None, b"2"]})))).clips[:1]
    with pytest.raises(OSError, match="the row holds no bytes"):
        read(clip)
    assert members.described(clip.path) == f"{tmp_path}/x.parquet (column 'anything', row 0 of row group 0)"
    with pytest.raises(PemtError, match="row 0 has label"):
        list_source(str(parquet_of(tmp_path / "x.parquet", pa.table({"bytes": [b"1"], "label": ["a\nb"]}))))


def test_a_manifest_with_hashes_stays_a_manifest(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"1")
    path = parquet_of(tmp_path / "m.parquet", pa.table({"path": ["a.mp4"], "picture_hash": [b"abc"]}))
    assert [clip.name for clip in list_source(str(path)).clips] == ["a.mp4"]


def test_a_video_folder(tmp_path):
    for name in ("train/a.mp4", "train/sub/b.mp4", "test/a.mp4", "test/dog/c.mp4", "train/left.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "train" / "metadata.csv").write_text("file_name,label,text\na.mp4,cat,hello\nsub/b.mp4,dog,\n")
    lines = [{"file_name": "a.mp4", "label": "cat", "start": 1}, {"file_name": "dog/c.mp4"}]
    (tmp_path / "test" / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    listing = list_source(str(tmp_path))
    assert sorted(told(listing.clips)) == [
        ("test/a.mp4", ("cat",), "test"),
        ("test/dog/c.mp4", ("dog",), "test"),
        ("train/a.mp4", ("cat",), "train"),
        ("train/sub/b.mp4", ("dog",), "train"),
    ]
    assert listing.extra_columns == ("text",)
    assert [(file.name, file.cause) for file in listing.filtered] == [("train/left.mp4", "not_in_metadata")]
    (tmp_path / "train" / "metadata.csv").write_text("file_name,label\ngone.mp4,cat\n")
    with pytest.raises(PemtError, match=r"train/metadata.csv line 2 points nowhere"):
        list_source(str(tmp_path))
    (tmp_path / "train" / "metadata.csv").write_text("file_name,lable\na.mp4,cat\n")
    with pytest.raises(PemtError, match="looks like 'label'"):
        list_source(str(tmp_path))


def test_metadata_of_something_else_changes_nothing(tmp_path):
    (tmp_path / "dog").mkdir()
    (tmp_path / "dog" / "a.mp4").write_bytes(b"1")
    (tmp_path / "metadata.csv").write_text("author,year\nme,2020\n")
    listing = list_source(str(tmp_path))
    assert told(listing.clips) == [("dog/a.mp4", ("dog",), None)]
    assert [file.name for file in listing.filtered] == ["metadata.csv"]


def test_a_data_set_is_not_taken_for_videos(tmp_path):
    (tmp_path / "dataset_card.json").write_text("{}")
    with pytest.raises(PemtError, match=r"is a data set already; `python -m beam_jobs\.convert`"):
        list_source(str(tmp_path))


def content_of(folder):
    """JPEGs and spectrograms by split and label, in no order."""
    card, found = DatasetCard.read(folder), []
    shape = RecordShape(card.geometry, card.payload)
    for split, part in card.splits.items():
        for name in part.files:
            with (folder / name).open("rb") as file:
                for clip in map(shape.clip, read_records(file)):
                    found.append((split, clip.labels, tuple(clip.jpegs or ()), clip.log_mel.tobytes()))
    return sorted(found)


def test_the_same_videos_give_the_same_clips_from_wherever_they_are_read(tmp_path, capsys):
    videos = tmp_path / "videos"
    names = [("train", "dog", "a.mp4"), ("train", "cat", "b.webm"), ("test", "dog", "c.mkv")]
    for place, (split, label, name) in enumerate(names):
        media.write_video(videos / split / label / name, seconds=1 + place / 4)
    media.not_media(videos / "train" / "dog" / "bad.mp4")
    names.append(("train", "dog", "bad.mp4"))
    files = [(split, label, videos / split / label / name) for split, label, name in names]
    inside = [(f"{split}/{label}/{file.name}", file.read_bytes()) for split, label, file in files]
    train = [(name.removeprefix("train/"), content) for name, content in inside if name.startswith("train/")]
    tar_of(tmp_path / "tars" / "train" / "x.tar", train)
    tar_of(tmp_path / "tars" / "test" / "x.tar", [("dog/c.mkv", inside[2][1])])
    columns = {"split": [one[0] for one in files], "label": [one[1] for one in files]}
    parquet_of(tmp_path / "x.parquet", pa.table({"bytes": [content for _, content in inside], **columns}))
    for name, source in (("folder", videos), ("tar", tmp_path / "tars"), ("parquet", tmp_path / "x.parquet")):
        assert main(["--input", str(source), "--output", str(tmp_path / name), "--preset", "tiny"]) == 0
        assert "4 inputs = 3 written + 0 filtered + 1 failed" in capsys.readouterr().out
    assert content_of(tmp_path / "tar") == content_of(tmp_path / "folder") == content_of(tmp_path / "parquet")
    failure = json.loads((tmp_path / "tar" / "errors" / "failures.jsonl").read_text())
    assert (failure["path"], failure["cause"]) == ("train/x.tar/dog/bad.mp4", "open_failed")
    failure = json.loads((tmp_path / "parquet" / "errors" / "failures.jsonl").read_text())
    assert (failure["path"], failure["cause"]) == ("x.parquet/row-0000003", "open_failed")

"""Listing and manifests: the folder rules, each file accounted for, and a clear line for each mistake."""

import csv
import json
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from beam_jobs.inputs.file_listing import SkippedFile, clip_id, list_inputs, split_and_label
from beam_jobs.inputs.manifest import read_manifest
from pemt_tf.errors import PemtError


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


@pytest.mark.parametrize(
    ("folders", "expected"),
    [
        ((), (None, None)),
        (("dog",), (None, "dog")),
        (("dog", "train"), (None, "dog")),
        (("unlabelled",), (None, None)),
        (("train",), ("train", None)),
        (("val", "dog"), ("validation", "dog")),
        (("validation", "dog", "more"), ("validation", "dog")),
        (("test", "unlabelled"), ("test", None)),
    ],
)
def test_folders_say_split_and_label(folders, expected):
    assert split_and_label(folders) == expected


def test_folder(tmp_path):
    touch(
        tmp_path,
        "b.mp4",
        "dog/A.MKV",
        "dog/notes.txt",
        ".git/c.mp4",
        "train/cat/x.webm",
        "dog/.hidden.mp4",
        "no_suffix",
    )
    (tmp_path / "elsewhere").symlink_to(tmp_path / "dog", target_is_directory=True)
    listing = list_inputs(str(tmp_path))
    assert {(clip.clip_id, clip.label, clip.split) for clip in listing.clips} == {
        ("b.mp4", None, None),
        ("dog/A.MKV", "dog", None),
        ("train/cat/x.webm", "cat", "train"),
    }
    assert {(file.name, file.cause) for file in listing.filtered} == {
        ("dog/notes.txt", "not_media_suffix"),
        ("no_suffix", "not_media_suffix"),
        (".git/c.mp4", "hidden"),
        ("dog/.hidden.mp4", "hidden"),
        ("elsewhere", "linked_folder"),
    }


@pytest.mark.parametrize(
    "suffix", ["m2t", "3gpp", "mka", "qt", "m4b", "caf", "mp4", "MKV", "h264", "m1v", "wtv", "weba", "au", "w64", "ape"]
)
def test_media_by_suffix(tmp_path, suffix):
    touch(tmp_path, f"a.{suffix}")
    assert [clip.name for clip in list_inputs(str(tmp_path)).clips] == [f"a.{suffix}"]


@pytest.mark.parametrize("suffix", ["txt", "jpg", "png", "srt", "json", "m3u8", "nfo", "part"])
def test_no_media_by_suffix(tmp_path, suffix):
    touch(tmp_path, f"a.{suffix}", "b.mp4")
    assert [file.cause for file in list_inputs(str(tmp_path)).filtered] == ["not_media_suffix"]


def test_glob_and_single_file(tmp_path):
    touch(tmp_path, "dog/a.mp4", "cat/b.mp4", "cat/c.txt")
    listing = list_inputs(str(tmp_path / "*" / "*"))
    assert [(clip.name, clip.label) for clip in listing.clips] == [("cat/b.mp4", "cat"), ("dog/a.mp4", "dog")]
    assert listing.filtered == [SkippedFile(str(tmp_path / "cat/c.txt"), "cat/c.txt", "not_media_suffix")]
    assert [clip.name for clip in list_inputs(str(tmp_path / "dog/a.mp4")).clips] == ["a.mp4"]


def test_folder_with_brackets_is_no_glob(tmp_path):
    touch(tmp_path, "holiday [2020]/a.mp4")
    assert [clip.name for clip in list_inputs(str(tmp_path / "holiday [2020]")).clips] == ["a.mp4"]


def test_names_that_are_no_utf8(tmp_path):
    name = b"caf\xe9.mp4".decode("utf-8", "surrogateescape")
    touch(tmp_path, name)
    (clip,) = list_inputs(str(tmp_path)).clips
    assert clip.clip_id == r"caf\xe9.mp4"
    clip.clip_id.encode("utf-8")


@pytest.mark.parametrize(("names", "said"), [((), "it is empty"), (("a.txt", "b.jpg"), "2 files were seen")])
def test_folder_without_media(tmp_path, names, said):
    touch(tmp_path, *names)
    with pytest.raises(PemtError, match=f"no media files in .*{said}"):
        list_inputs(str(tmp_path))


def test_nothing_there(tmp_path):
    with pytest.raises(PemtError, match=r"no such file or folder: .*nothing"):
        list_inputs(str(tmp_path / "nothing"))


def test_clip_id_tells_the_part():
    assert clip_id("a/b.mp4") == "a/b.mp4"
    assert clip_id("a.mp4", 1.5, 12) == "a.mp4#1.5-12"
    assert clip_id("a.mp4", None, 12) == "a.mp4#0-12"
    assert clip_id("a.mp4", 3.0) == "a.mp4#3-end"


def manifest(tmp_path, text):
    touch(tmp_path, "videos/a.mp4", "videos/b c.mp4")
    (tmp_path.parent / "elsewhere.mp4").touch()
    path = tmp_path / "list.csv"
    path.write_bytes(text.encode())
    return str(path)


def test_manifest(tmp_path):
    text = (
        '\ufeffpath,label,start,end,split\nvideos/a.mp4,dog,1,3.5,train\n"videos/b c.mp4",,,,\n'
        + f"{tmp_path}/videos/a.mp4,cat,,2,test\n"
    )
    listing = read_manifest(manifest(tmp_path, text))
    assert [(c.clip_id, c.label, c.start, c.end, c.split) for c in listing.clips] == [
        ("videos/a.mp4#1-3.5", "dog", 1.0, 3.5, "train"),
        ("videos/b c.mp4", None, None, None, None),
        (f"{tmp_path}/videos/a.mp4#0-2", "cat", None, 2.0, "test"),
    ]
    assert listing.clips[0].path == str(tmp_path / "videos/a.mp4")


def test_manifest_of_paths_only(tmp_path):
    assert [clip.label for clip in read_manifest(manifest(tmp_path, "path\r\nvideos/a.mp4\r\n")).clips] == [None]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (
            "path,label\nvideos/a.mp4,x\nvideos/gone.mp4,x\n",
            "list.csv line 3 points nowhere: no file at .*videos/gone.mp4",
        ),
        ("path\nvideos\n", "line 2 points nowhere"),
        ("file\nvideos/a.mp4\n", r"no column 'path' \(it has: file\)"),
        ("label,start\nx,1\n", "no column 'path'"),
        ("path\n../elsewhere.mp4\n", r"line 2 leads out of .*; name its folder with --input_root, or --allow_outside"),
        ("path,label,labels\nvideos/a.mp4,x,y|z\n", "line 2 has label 'x' and labels"),
        ("path,labels\nvideos/a.mp4,y||z\n", "line 2 has labels"),
        ("path,id\nvideos/a.mp4,one\nvideos/b c.mp4,one\n", "line 3 contradicts line 2: one"),
        ("path\n", "has no rows"),
        ("", "no column 'path'"),
        ("path,label\n,x\n", "line 2 has no path"),
        ("path\nvideos/a.mp4,x\n", "line 2 has more fields"),
        ("path,start\nvideos/a.mp4,soon\n", "line 2 has start 'soon'"),
        ("path,start\nvideos/a.mp4,nan\n", "line 2 has start 'nan'"),
        ("path,start,end\nvideos/a.mp4,5,4\n", "line 2 ends at 4 s, before it starts at 5 s"),
        ("path,split\nvideos/a.mp4,learn\n", "line 2 has split 'learn'; allowed: train, validation, test"),
        ("path,label\nvideos/a.mp4,x\nvideos/a.mp4,x\n", "line 3 repeats line 2"),
        ("path,label\nvideos/a.mp4,x\nvideos/a.mp4,y\n", "line 3 contradicts line 2"),
    ],
)
def test_manifest_mistakes_are_named(tmp_path, rows, said):
    with pytest.raises(PemtError, match=said) as caught:
        read_manifest(manifest(tmp_path, rows))
    assert "\n" not in str(caught.value)


def test_links(tmp_path):
    root = tmp_path / "in"
    touch(tmp_path, "outside/b.mp4", "in/dog/a.mp4")
    (root / "dog" / "same.mp4").symlink_to("a.mp4")
    (root / "dog" / "away.mp4").symlink_to("../../outside/b.mp4")
    (root / "more").symlink_to(tmp_path / "outside")
    (root / "circle").symlink_to(root)
    listing = list_inputs(str(root))
    assert {clip.name for clip in listing.clips} == {"dog/a.mp4", "dog/same.mp4"}
    assert {(file.name, file.cause) for file in listing.filtered} == {
        ("dog/away.mp4", "outside_root"),
        ("more", "linked_folder"),
        ("circle", "linked_folder"),
    }
    allowed = list_inputs(str(root), allow_outside=True)
    assert {clip.name for clip in allowed.clips} == {"dog/a.mp4", "dog/same.mp4", "dog/away.mp4", "more/b.mp4"}
    assert [file.name for file in allowed.filtered] == ["circle"]


def test_manifest_may_be_allowed_outside_or_have_another_root(tmp_path):
    path = manifest(tmp_path, f"path\n{tmp_path.parent}/elsewhere.mp4\n")
    with pytest.raises(PemtError, match="leads out of"):
        read_manifest(path)
    for more in ({"allow_outside": True}, {"root": str(tmp_path.parent)}):
        assert [clip.path for clip in read_manifest(path, **more).clips] == [str(tmp_path.parent / "elsewhere.mp4")]
    inner = manifest(tmp_path, "path\na.mp4\n")
    assert read_manifest(inner, root=str(tmp_path / "videos")).clips[0].path == str(tmp_path / "videos/a.mp4")


ROWS = [
    {"path": "videos/a.mp4", "id": "one", "labels": ["x", "y"], "start": 1, "end": 2.5, "group": "g", "scene": "7"},
    {"path": "videos/b c.mp4", "label": "z", "split": "test"},
]


def test_all_forms_of_a_manifest_mean_the_same(tmp_path):
    touch(tmp_path, "videos/a.mp4", "videos/b c.mp4")
    csv_text = "path,id,labels,start,end,group,scene,label,split\nvideos/a.mp4,one,x|y,1,2.5,g,7,,\n"
    (tmp_path / "list.csv").write_text(csv_text + "videos/b c.mp4,,,,,,,z,test\n")
    (tmp_path / "list.jsonl").write_text("\n".join(json.dumps(row) for row in ROWS) + "\n\n")
    pq.write_table(pa.Table.from_pylist(ROWS, pa.schema(COLUMN_TYPES)), tmp_path / "list.parquet")
    listings = [read_manifest(str(tmp_path / f"list.{form}")) for form in ("csv", "jsonl", "parquet")]
    assert listings[0].clips == listings[1].clips == listings[2].clips
    first, second = listings[0].clips
    assert (first.clip_id, first.labels, first.start, first.end) == ("one", ("x", "y"), 1.0, 2.5)
    assert (first.group_name, first.extra, first.label) == ("g", (("scene", "7"),), "x")
    assert (second.clip_id, second.labels, second.split, second.group_name) == (
        "videos/b c.mp4",
        ("z",),
        "test",
        "videos/b c.mp4",
    )
    assert all("scene" in listing.extra_columns for listing in listings)


COLUMN_TYPES = [
    *((name, pa.string()) for name in ("path", "id")),
    ("labels", pa.list_(pa.string())),
    *((name, pa.float64()) for name in ("start", "end")),
    *((name, pa.string()) for name in ("group", "scene", "label", "split")),
]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "line 1 is not JSON"),
        ("[1]", "line 1 is not a JSON object"),
        ('{"path": "videos/a.mp4"}\n{"label": "x"}', "line 2 has no path"),
        ('{"path": ["videos/a.mp4"]}', "line 1 has path .* it must be a text"),
        ('{"path": "videos/a.mp4", "start": "1:20"}', "line 1 has start '1:20'"),
        ('{"path": "videos/a.mp4", "start": true}', "line 1 has start True"),
        ("", "has no rows"),
    ],
)
def test_json_mistakes_are_named(tmp_path, text, said):
    touch(tmp_path, "videos/a.mp4")
    (tmp_path / "list.jsonl").write_text(text)
    with pytest.raises(PemtError, match=said) as caught:
        read_manifest(str(tmp_path / "list.jsonl"))
    assert "\n" not in str(caught.value)


def test_parquet_that_is_none(tmp_path):
    (tmp_path / "list.parquet").write_text("path\n")
    with pytest.raises(PemtError, match="cannot read the manifest"):
        read_manifest(str(tmp_path / "list.parquet"))


texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1).map(str.strip).filter(bool)


@given(
    st.lists(
        st.fixed_dictionaries(
            {"path": st.just("videos/a.mp4"), "id": texts},
            optional={"label": texts, "start": st.floats(0, 1e6), "group": texts, "note": texts},
        ),
        min_size=1,
        unique_by=lambda row: row["id"],
    )
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_text_survives_any_form(tmp_path, rows):
    touch(tmp_path, "videos/a.mp4")
    names = ["path", "id", "label", "start", "group", "note"]
    with (tmp_path / "list.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)
    (tmp_path / "list.jsonl").write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    by_form = [read_manifest(str(tmp_path / f"list.{form}")).clips for form in ("csv", "jsonl")]
    assert by_form[0] == by_form[1]
    assert [clip.clip_id for clip in by_form[0]] == [row["id"] for row in rows]
    assert [clip.start for clip in by_form[0]] == [row.get("start") for row in rows]
    assert [dict(clip.extra).get("note") for clip in by_form[0]] == [row.get("note") for row in rows]


def test_manifest_that_is_no_text(tmp_path):
    (tmp_path / "list.csv").write_bytes(b"path\n\xff\xfe\n")
    with pytest.raises(PemtError, match="cannot read the manifest"):
        read_manifest(str(tmp_path / "list.csv"))


def test_pipes_and_devices_are_called_what_they_are(tmp_path):
    os.mkfifo(tmp_path / "a.mp4")
    with pytest.raises(PemtError, match=r"a\.mp4 is a pipe \(FIFO\), not a file; give a file, a folder"):
        list_inputs(str(tmp_path / "a.mp4"))
    (tmp_path / "list.csv").write_text("path\na.mp4\n")
    with pytest.raises(PemtError, match=r"list\.csv.*a\.mp4 is a pipe \(FIFO\), not a file"):
        read_manifest(str(tmp_path / "list.csv"))

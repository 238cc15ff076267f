"""Listing and manifests: the folder rules, each file accounted for, and a clear line for each mistake."""

import pytest

from beam_jobs.inputs import FilteredFile, clip_id, list_inputs, split_and_label
from beam_jobs.manifest import read_manifest
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
    assert {(file.name, file.rule) for file in listing.filtered} == {
        ("dog/notes.txt", "not_media_suffix"),
        ("no_suffix", "not_media_suffix"),
        (".git/c.mp4", "hidden"),
        ("dog/.hidden.mp4", "hidden"),
        ("elsewhere", "linked_folder"),
    }


def test_glob_and_single_file(tmp_path):
    touch(tmp_path, "dog/a.mp4", "cat/b.mp4", "cat/c.txt")
    listing = list_inputs(str(tmp_path / "*" / "*"))
    assert [(clip.name, clip.label) for clip in listing.clips] == [("cat/b.mp4", "cat"), ("dog/a.mp4", "dog")]
    assert listing.filtered == [FilteredFile(str(tmp_path / "cat/c.txt"), "cat/c.txt", "not_media_suffix")]
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
        ("file\nvideos/a.mp4\n", "unknown column 'file'"),
        ("label,start\nx,1\n", "no column 'path'"),
        ("path,lable\nvideos/a.mp4,x\n", "unknown column 'lable'"),
        ("path\n", "has no rows"),
        ("", "no column 'path'"),
        ("path,label\n,x\n", "line 2 has no path"),
        ("path\nvideos/a.mp4,x\n", "line 2 has more fields"),
        ("path,start\nvideos/a.mp4,soon\n", "line 2 has start 'soon'"),
        ("path,start\nvideos/a.mp4,nan\n", "line 2 has start 'nan'"),
        ("path,start,end\nvideos/a.mp4,5,4\n", "line 2 ends at 4 s, before it starts at 5 s"),
        ("path,split\nvideos/a.mp4,training\n", "line 2 has split 'training'; allowed: train, validation, test"),
        ("path,label\nvideos/a.mp4,x\nvideos/a.mp4,x\n", "line 3 repeats line 2"),
        ("path,label\nvideos/a.mp4,x\nvideos/a.mp4,y\n", "line 3 contradicts line 2"),
    ],
)
def test_manifest_mistakes_are_named(tmp_path, rows, said):
    with pytest.raises(PemtError, match=said) as caught:
        read_manifest(manifest(tmp_path, rows))
    assert "\n" not in str(caught.value)


def test_manifest_that_is_no_text(tmp_path):
    (tmp_path / "list.csv").write_bytes(b"path\n\xff\xfe\n")
    with pytest.raises(PemtError, match="cannot read the manifest"):
        read_manifest(str(tmp_path / "list.csv"))

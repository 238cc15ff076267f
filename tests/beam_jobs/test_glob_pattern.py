"""Globs: what they name, on local disks and elsewhere."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beam_jobs.inputs.file_listing import list_inputs
from beam_jobs.inputs.paths import GlobPattern
from pemt_tf.errors import PemtError


@pytest.mark.parametrize(
    ("glob", "root", "names", "others"),
    [
        ("*.mp4", "", ["a.mp4", ".mp4"], ["d/a.mp4", "a.mp4.txt", "amp4"]),
        ("in/**/*.mp4", "in", ["a.mp4", "d/a.mp4", "d/e/a.mp4"], ["a.mkv", "d/a.mkv"]),
        ("in/**", "in", ["a", "d/e/f"], []),
        ("in/*/*", "in", ["d/a"], ["a", "d/e/a"]),
        ("/in/b?.mp4", "/in", ["b1.mp4"], ["b.mp4", "b/.mp4"]),
        ("/*", "/", ["a"], ["d/a"]),
        ("in/[a-c]x", "in", ["ax", "cx"], ["dx", "-x", "/x"]),
        ("in/[!a-c]x", "in", ["dx"], ["ax", "/x"]),
        ("in/[]^]x", "in", ["]x", "^x"], ["ax"]),
        ("in/[^]x", "in", ["^x"], ["ax"]),
        ("in/[!]a]x", "in", ["bx"], ["]x", "ax"]),
        ("in/[a-]x", "in", ["ax", "-x"], ["bx"]),
        ("in/[z-a]x", "in", [], ["ax", "zx", "-x"]),
        ("in/[!z-a]x", "in", ["ax"], ["/x", "x"]),
        ("in/[a&&b\\]x", "in", ["ax", "&x", "\\x"], ["cx"]),
        ("gs://bucket/in/**.mp4", "gs://bucket/in", ["a.mp4", "d/a.mp4"], ["a.mkv"]),
        ("in/a[1", "in", ["a[1"], ["a1"]),
    ],
)
def test_what_a_glob_names(glob, root, names, others):
    pattern = GlobPattern(glob)
    assert pattern.root == root
    assert [name for name in [*names, *others] if pattern.matches(name)] == names


@settings(deadline=None, max_examples=500)
@given(st.lists(st.text("ab*?[]!-^\\&", min_size=1), min_size=1, max_size=3), st.text("ab[]!-^\\&/", min_size=1))
def test_a_folder_of_what_is_named_may_hold_it(parts, name):
    text = "/".join(parts)
    if not re.search(r"[*?\[]", parts[0]):
        text = f"*/{text}"
    pattern = GlobPattern(text)
    folders = name.split("/")[:-1]
    if pattern.matches(name):
        assert all(pattern.may_hold("/".join(folders[: depth + 1])) for depth in range(len(folders)))


def test_folders_that_cannot_hold_a_match_are_not_looked_into(tmp_path):
    (tmp_path / "in" / "deep" / "er").mkdir(parents=True)
    (tmp_path / "in" / "a.mp4").touch()
    assert not GlobPattern("in/*.mp4").may_hold("deep")
    assert [clip.name for clip in list_inputs(str(tmp_path / "in" / "*.mp4")).clips] == ["a.mp4"]


def test_a_glob_may_begin_with_a_wildcard(tmp_path, monkeypatch):
    (tmp_path / "dog").mkdir()
    for name in ("a.mp4", "dog/b.mp4"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    assert [(clip.name, clip.path) for clip in list_inputs("*.mp4").clips] == [("a.mp4", "a.mp4")]
    assert [(clip.name, clip.label) for clip in list_inputs("**/*.mp4").clips] == [
        ("a.mp4", None),
        ("dog/b.mp4", "dog"),
    ]


def test_links_under_a_glob_are_treated_as_under_a_folder(tmp_path):
    root = tmp_path / "in" / "dog"
    root.mkdir(parents=True)
    (root / "a.mp4").touch()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "b.mp4").touch()
    (root / "same.mp4").symlink_to("a.mp4")
    (root / "away.mp4").symlink_to("../../outside/b.mp4")
    (root / "broken.mp4").symlink_to("nothing.mp4")
    (tmp_path / "in" / "more").symlink_to("../outside")
    glob = str(tmp_path / "in" / "*" / "*.mp4")
    listing = list_inputs(glob)
    # The broken link is an input: reading it fails as not_found, so it is counted.
    assert [(clip.name, clip.size) for clip in listing.clips] == [
        ("dog/a.mp4", 0),
        ("dog/broken.mp4", None),
        ("dog/same.mp4", 0),
    ]
    assert {(file.name, file.cause) for file in listing.filtered} == {
        ("more", "linked_folder"),
        ("dog/away.mp4", "outside_root"),
    }
    allowed = list_inputs(glob, allow_outside=True)
    assert {clip.name for clip in allowed.clips} - {clip.name for clip in listing.clips} == {
        "dog/away.mp4",
        "more/b.mp4",
    }
    assert allowed.filtered == []


def test_a_glob_in_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(PemtError, match=r"cannot read the input folder .*nothing: No such file"):
        list_inputs(str(tmp_path / "nothing" / "*.mp4"))
    (tmp_path / "a.txt").touch()
    with pytest.raises(PemtError, match=r"1 files were seen"):
        list_inputs(str(tmp_path / "*"))

"""One video is one group, however a row or a link spells its file."""

import pytest

from beam_jobs.inputs.file_listing import list_inputs
from beam_jobs.inputs.manifest import read_manifest
from beam_jobs.inputs.paths import FileIdentity, normal_address
from beam_jobs.inputs.selection import assign_splits, parse_fractions
from pemt_tf.errors import PemtError
from tests.beam_jobs.memory_file_system import FILES, MemoryFileSystem  # noqa: F401 - Beam finds mem:// by it


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


@pytest.fixture
def root(tmp_path):
    touch(tmp_path, "in/a.mp4", "in/x/b.mp4", "away/c.mp4")
    (tmp_path / "in" / "link.mp4").symlink_to("a.mp4")
    (tmp_path / "in" / "y").symlink_to("x")
    (tmp_path / "linked").symlink_to("in")
    return tmp_path / "in"


SPELLINGS = ["a.mp4", "./a.mp4", "x/../a.mp4", ".//a.mp4", "x/./../a.mp4", "{root}/a.mp4", "{root}/../in/a.mp4"]
LINKS = ["link.mp4", "y/../a.mp4", "{root}/../linked/a.mp4"]


@pytest.mark.parametrize("spelling", SPELLINGS + LINKS)
def test_every_spelling_is_one_group(root, spelling):
    path = root / "list.csv"
    path.write_text(f"path,start,end\na.mp4,0,1\n{spelling.format(root=root)},1,2\n")
    first, second = read_manifest(str(path)).clips
    assert first.group_name == second.group_name == "a.mp4"
    assert (first.clip_id, second.clip_id) == ("a.mp4#0-1", f"{spelling.format(root=root)}#1-2")


def test_no_split_parts_one_video(root):
    rows = [(spelling.format(root=root), number) for number, spelling in enumerate((SPELLINGS + LINKS) * 5)]
    (root / "list.csv").write_text("path,start\n" + "".join(f"{name},{number}\n" for name, number in rows))
    for fractions in ("train=0.5,test=0.5", "train=0.2,validation=0.4,test=0.4"):
        clips = assign_splits(read_manifest(str(root / "list.csv")).clips, parse_fractions(fractions))
        assert len({clip.split for clip in clips}) == 1 and len(clips) == 50


@pytest.mark.parametrize("spelling", SPELLINGS[1:])
@pytest.mark.parametrize(("label", "what"), [("dog", "repeats"), ("cat", "contradicts")])
def test_the_same_row_in_another_spelling(root, spelling, label, what):
    (root / "list.csv").write_text(f"path,label\na.mp4,dog\n{spelling.format(root=root)},{label}\n")
    with pytest.raises(PemtError, match=f"line 3 {what} line 2"):
        read_manifest(str(root / "list.csv"))


def test_two_splits_of_one_video_are_refused_in_any_spelling(root):
    (root / "list.csv").write_text("path,start,split\na.mp4,0,train\n./a.mp4,1,test\n")
    with pytest.raises(PemtError, match="is in the train split and in the test split"):
        assign_splits(read_manifest(str(root / "list.csv")).clips, parse_fractions("train=1"))


def test_links_in_folders(root):
    groups = {clip.name: clip.group_name for clip in list_inputs(str(root)).clips}
    assert groups == {"a.mp4": "a.mp4", "link.mp4": "a.mp4", "x/b.mp4": "x/b.mp4"}
    (root / "away.mp4").symlink_to(root.parent / "away" / "c.mp4")
    (root / "z").symlink_to(root.parent / "away")
    outside = {clip.name: clip.group_name for clip in list_inputs(str(root), allow_outside=True).clips}
    assert outside["away.mp4"] == outside["z/c.mp4"] == str((root.parent / "away" / "c.mp4").resolve())
    assert outside["a.mp4"] == "a.mp4"


def test_usual_files_have_their_name_as_group(root):
    """So their splits are those of earlier releases; an input that is itself reached by a link changes nothing."""
    for place in (root, root.parent / "linked"):
        clips = {clip.name: clip for clip in list_inputs(str(place)).clips}
        assert clips["a.mp4"].group is None and clips["x/b.mp4"].group is None


REMOTE = ["a.mp4", "./a.mp4", "x/../a.mp4", "mem://b/in/a.mp4", "mem://b/in/./a.mp4", "mem://b/in/x/../a.mp4"]


@pytest.mark.parametrize("spelling", REMOTE)
def test_addresses(spelling):
    FILES.clear()
    FILES["mem://b/in/list.csv"] = f"path,start\na.mp4,0\n{spelling},1\n".encode()
    first, second = read_manifest("mem://b/in/list.csv").clips
    assert first.group_name == second.group_name == "a.mp4"
    assert first.path == second.path == "mem://b/in/a.mp4"
    FILES.clear()


@pytest.mark.parametrize("spelling", ["../a.mp4", "mem://b/a.mp4", "mem://b/in/../a.mp4", "mem://b/inner/a.mp4"])
def test_addresses_that_lead_out(spelling):
    FILES.clear()
    FILES["mem://b/in/list.csv"] = f"path\n{spelling}\n".encode()
    with pytest.raises(PemtError, match="line 2 names a file outside mem://b/in"):
        read_manifest("mem://b/in/list.csv")
    assert len(read_manifest("mem://b/in/list.csv", allow_outside=True).clips) == 1
    FILES.clear()


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("gs://b/x/../a.mp4", "gs://b/a.mp4"),
        ("gs://b/./x//a.mp4", "gs://b/x/a.mp4"),
        ("gs://b/../../a.mp4", "gs://b/a.mp4"),
        ("gs://b", "gs://b"),
        ("gs://b/in/", "gs://b/in"),
    ],
)
def test_normal_addresses(address, expected):
    assert normal_address(address) == expected


def test_local_files_of_a_remote_list_keep_their_place(tmp_path):
    assert FileIdentity("gs://b/in").of(str(tmp_path / "a.mp4")) == str(tmp_path.resolve() / "a.mp4")
    assert not FileIdentity("gs://b/in").holds(str(tmp_path / "a.mp4"))

import pytest

from pemt_tf.errors import PemtError
from pemt_tf.files.whole_file import whole_file, write_text


def test_a_file_that_fails_leaves_the_old_one_and_nothing_else(tmp_path):
    path = tmp_path / "a.weights.h5"
    path.write_text("old")
    with pytest.raises(ValueError), whole_file(path) as partial:
        partial.write_text("half")
        assert partial.name.endswith(".weights.h5")
        raise ValueError

    assert {one.name: one.read_text() for one in tmp_path.iterdir()} == {"a.weights.h5": "old"}


def test_a_finished_file_takes_the_place_of_the_old_one(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("old")
    with whole_file(path) as partial:
        partial.write_text("new")
        assert path.read_text() == "old"

    assert {one.name: one.read_text() for one in tmp_path.iterdir()} == {"a.json": "new"}


def test_names_that_are_not_text_can_be_written(tmp_path):
    assert write_text(tmp_path / "a.txt", "b\udcff").read_bytes() == b"b\\udcff"


def test_folders_are_made_only_when_asked_for(tmp_path):
    path = tmp_path / "new" / "a.txt"
    with pytest.raises(PemtError, match=r"cannot write .*new/a.txt: No such file or directory"):
        write_text(path, "x")
    assert write_text(path, "x", make_folder=True).read_text() == "x"

"""Names of files as text: valid, unique, and the way back to the file."""

import io
import os
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pemt_tf import cli
from pemt_tf.files.names import make_streams_printable, original, printable, readable
from pemt_tf.media.media_errors import MediaError


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (b"dog/a.mp4", "dog/a.mp4"),
        ("日本/ü 1.mp4".encode(), "日本/ü 1.mp4"),
        (b"caf\xe9.mp4", r"caf\xe9.mp4"),
        (b"\xff\xfe/\xc3.mp4", r"\xff\xfe/\xc3.mp4"),
        (b"two\nlines\t.mp4", r"two\x0alines\x09.mp4"),
        (rb"caf\xe9.mp4", r"caf\x5cxe9.mp4"),
        (rb"back\slash \x.mp4", r"back\slash \x.mp4"),
    ],
)
def test_names_as_text(name, text):
    assert readable(name) == readable(os.fsdecode(name)) == text
    assert os.fsencode(original(text)) == name


@given(st.lists(st.one_of(st.binary(), st.text("\\x5ce9\n").map(str.encode)), unique=True))
def test_every_name_has_a_text_of_its_own_and_leads_back(names):
    texts = [readable(name) for name in names]
    assert len(set(texts)) == len(names)
    for name, text in zip(names, texts, strict=True):
        assert len(text.encode("utf-8").splitlines()) <= 1
        assert os.fsencode(original(text)) == name


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"], exclude_characters="\\")))
def test_usual_names_stay(name):
    assert readable(name) == name


@given(st.text())
def test_texts_may_be_made_printable_twice(text):
    assert printable(printable(text)) == printable(text)


def test_causes_name_files_in_the_same_way():
    error = MediaError("not_found", "no file at " + os.fsdecode(b"caf\xe9.mp4"))
    assert error.detail == r"no file at caf\xe9.mp4"


@pytest.mark.parametrize(("encoding", "umlaut"), [("utf-8", "ü"), ("ascii", r"\xfc")])
def test_any_name_can_be_printed_on_any_terminal(monkeypatch, encoding, umlaut):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=encoding))
    make_streams_printable()
    sys.stdout.write(f"ü {os.fsdecode(bytes([0xE9]))}")
    sys.stdout.flush()
    assert written.getvalue().decode(encoding) == rf"{umlaut} \xe9"


@pytest.mark.parametrize(
    "arguments",
    [
        ("evaluate", "--model", "NAME", "--data", "NAME"),
        ("predict", "NAME", "--model", "NAME"),
        ("search", "NAME", "--like", "NAME"),
        ("report", "NAME"),
    ],
)
def test_a_name_that_is_too_long_is_one_line(capsys, tmp_path, arguments):
    code = cli.main([argument.replace("NAME", str(tmp_path / ("n" * 300))) for argument in arguments])
    err = capsys.readouterr().err
    assert code == 2 and err.startswith("error: ") and err.count("\n") == 1, err


def test_records_of_single_files_take_any_name(tmp_path, small_config):
    from pemt_tf.data.record_format import CLIP_ID, DATA_PATH
    from pemt_tf.export.clip_request import record_of
    from tests import media_files as media

    made = media.write_video(tmp_path / "a.mp4", seconds=2)
    path = tmp_path / os.fsdecode(b"caf\xe9.mp4")
    made.rename(path)
    record = record_of(str(path), small_config.geometry)
    for name, value in ((CLIP_ID, r"caf\xe9"), (DATA_PATH, rf"{tmp_path}/caf\xe9.mp4")):
        assert name.encode() in record and value.encode() in record

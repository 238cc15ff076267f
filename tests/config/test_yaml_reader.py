"""YAML as people write it: numbers, fields given twice, and one sentence for what is not YAML."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pemt_tf.config.yaml_reader import parse_yaml, read_yaml
from pemt_tf.errors import PemtError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1e-4", 0.0001),
        ("1E4", 10_000.0),
        ("-2.5e-3", -0.0025),
        (".5e1", 5.0),
        ("1.e2", 100.0),
        ("+3e+2", 300.0),
        ("1.5", 1.5),
        ("12", 12),
        ("e4", "e4"),
        ("1e", "1e"),
        ("1e4x", "1e4x"),
        ("'1e4'", "1e4"),
        ("[1e-1, 2]", [0.1, 2]),
        ("", None),
    ],
)
def test_values(text, expected):
    value = parse_yaml(text, "it")
    assert value == expected and type(value) is type(expected)


@pytest.mark.parametrize("text", ["a: 1\nb: 2\na: 3", "model: {rank: 8, rank: 16}", "[{x: 1, x: 1}]"])
def test_a_field_given_twice(text):
    with pytest.raises(PemtError, match=r"cannot read mine\.yaml: not readable YAML: '\w+' is given twice .*line"):
        parse_yaml(text, "mine.yaml")


@pytest.mark.parametrize(
    "text",
    ["[1", "2026-13-45", "!!float [1]", "!!timestamp x", "!!bool x", "{[1]: 2}", "!!python/object:os.system x", "["]
    + ["[" * 1200, "&a [*b]", "\x00", "9" * 5000 + "x: ["],
)
def test_what_is_not_yaml_is_one_sentence(text):
    with pytest.raises(PemtError, match=r"cannot read --set 'x=': not readable YAML: [^\n]+$"):
        parse_yaml(text, "--set 'x='")


@settings(max_examples=300, deadline=None)
@given(st.text(st.characters(codec="utf-8") | st.sampled_from("[]{}:,-!&*#'\"\n e1.?|>%@"), max_size=30))
def test_any_text_is_a_value_or_one_sentence(text):
    try:
        parse_yaml(text, "it")
    except PemtError as error:
        assert "\n" not in str(error)


def test_merged_and_repeated_parts_still_work():
    assert parse_yaml("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: *a", "it")["b"] == {"x": 1, "y": 3}


@pytest.mark.parametrize(("content", "said"), [(b"- a\n", "does not hold fields"), (b"\xff\xfe\x00", "cannot read")])
def test_a_file_that_holds_no_fields(tmp_path, content, said):
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    with pytest.raises(PemtError, match=re.escape(str(path))) as caught:
        read_yaml(path, "the preset")
    assert said in str(caught.value)


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(PemtError, match=r"cannot read .*: (No such file or directory|Is a directory)"):
        read_yaml(tmp_path, "the preset")
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    assert read_yaml(tmp_path / "empty.yaml", "the preset") == {}

"""docs/faq.md: every message is one that the programs say, every command one that they take."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path

import pytest

from beam_jobs import preprocess
from pemt_tf import cli
from pemt_tf.config import Config

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "faq.md").read_text(encoding="utf-8")
MESSAGES = [line for block in re.findall(r"```text\n(.*?)```", PAGE, re.S) for line in block.splitlines()]
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.S) for line in block.splitlines()]
# Fewer letters of our own could be found in anything.
FEWEST_LETTERS = 12


def written_texts() -> set[str]:
    """Texts of the source as patterns: what is computed when the program runs may be anything."""
    found = set()
    for package in ("pemt_tf", "beam_jobs"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                parts = node.values if isinstance(node, ast.JoinedStr) else [node]
                texts = [p.value if isinstance(p, ast.Constant) else None for p in parts]
                own = "".join(text for text in texts if isinstance(text, str))
                if len(own) >= FEWEST_LETTERS and all(text is None or isinstance(text, str) for text in texts):
                    found.add("".join(".*" if text is None else re.escape(text) for text in texts))
    return found


PATTERNS = [re.compile(pattern) for pattern in written_texts()]


@pytest.mark.parametrize("message", MESSAGES)
def test_message_is_in_the_source(message):
    assert any(pattern.fullmatch(message) for pattern in PATTERNS), message


def test_a_message_that_nobody_says_would_be_noticed():
    for text in ("the loss of step 130 is bad; go home", "a request of 71.3 MB is fine", "decoding took more than"):
        assert not any(pattern.fullmatch(text) for pattern in PATTERNS), text


@pytest.mark.parametrize("command", COMMANDS)
def test_command_is_one_that_the_programs_take(command):
    first, *words = shlex.split(command)
    if first == "pemt":
        options = cli.make_parser().parse_args(words)
    else:
        assert [first, *words[:2]] == ["python", "-m", "beam_jobs.preprocess"]
        options = preprocess.build_parser().parse_args(words[2:])
    if changes := getattr(options, "set", None):
        Config.from_preset(options.preset or "tiny").with_overrides(changes)


def test_commands_and_flags_in_sentences_exist(capsys):
    """`--flag` in running text belongs to some command of ours."""
    text = re.sub(r"```.*?```", "", PAGE, flags=re.S)
    with pytest.raises(SystemExit):
        cli.main(["predict", "--help"])
    known = capsys.readouterr().out + preprocess.build_parser().format_help() + "--set --init --help"
    for flag in re.findall(r"`(--[\w-]+)", text):
        assert flag in known, flag
    for setting in re.findall(r"`--set (\S+)`", text):
        Config.from_preset("avbert_base").with_overrides([setting])


@pytest.mark.parametrize(
    "trouble",
    [
        *(
            "files are corrupt",
            "Silent audio",
            "Preparation is slow",
            "Out of memory",
            "Resuming",
            "NaN",
            "export work with Keras 3",
        ),
        *("gRPC", "eats memory"),
        *("waits for data", "same video", "crashes the decoder", "public data set", "pip", "my own video"),
    ],
)
def test_trouble_has_an_entry(trouble):
    headings = re.findall(r"^### (.*)$", PAGE, re.M)
    assert sum(trouble in heading for heading in headings) == 1, trouble


def test_links_lead_somewhere():
    for page, _, place in re.findall(r"\]\(([^)#:]+)(#([^)]*))?\)", PAGE):
        path = (ROOT / "docs" / page).resolve()
        assert path.exists(), page
        headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.M)
        assert not place or place in {
            re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings
        }, (page, place)

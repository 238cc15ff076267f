"""docs/serving.md speaks of the flags, defaults, signatures and fields that there are."""

import ast
import importlib
import inspect
import json
import re
import shlex
from pathlib import Path

import pytest

from pemt_tf import cli
from pemt_tf.export.client import PredictionClient
from pemt_tf.export.servable_metadata import ServableMetadata
from tests.export.test_saved_model import CLASSIFIER_OUTPUTS

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")


def table(first_column: str) -> list[list[str]]:
    """Cells of the table whose first column has this title, without its two head lines."""
    (lines,) = [b.splitlines() for b in re.findall(r"(?:^\|.*\n)+", TEXT, re.M) if b.startswith(f"| {first_column} |")]
    return [[cell.strip() for cell in line[1:-1].split("|")] for line in lines[2:]]


def test_signatures():
    rows = {name.strip("`"): outputs for name, _, outputs in table("signature")}
    assert rows.keys() == CLASSIFIER_OUTPUTS.keys()
    full = ", ".join(f"`{name}`" for name in ("probabilities", "labels", "embedding"))
    for name, outputs in rows.items():
        text = full if outputs.startswith("the same") else outputs
        assert {f"`{output}`" for output in CLASSIFIER_OUTPUTS[name]} <= set(re.findall(r"`\w+`", text)), name


def test_flags_and_defaults(capsys):
    with pytest.raises(SystemExit):
        cli.main(["predict", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    defaults = inspect.signature(PredictionClient).parameters
    for flags, _, default in [*table("flag"), *table("flag of access")]:
        for flag in re.findall(r"--[\w-]+", flags):
            assert f"{flag} " in text or f"{flag}]" in text, flag
        name = flags.strip("`-").replace("-", "_")
        if name in defaults and defaults[name].default is not None:
            assert default.strip("`") == f"{defaults[name].default:{'' if name == 'rest_layout' else 'g'}}", name
    for flag in set(re.findall(r"pemt predict .*", TEXT)):
        for one in re.findall(r"--[\w-]+", flag.partition("#")[0]):
            assert one in text


def test_commands_are_ones_that_the_programs_take():
    commands = [line.partition("#")[0] for line in TEXT.splitlines() if line.startswith("pemt ")]
    commands += re.findall(r"`(pemt serve-\w+ --[^`]*)`", TEXT)
    assert {command.split()[1] for command in commands} >= {"export", "predict", "serve-config", "serve-status"}
    for command in commands:
        cli._parser().parse_args(shlex.split(command)[1:])


def test_metadata_fields(small_config):
    sentence = re.search(r"- `metadata` takes names of fields: (.*?)\. It answers", TEXT, re.S)[1]
    named = re.findall(r"`(\w+)`", sentence.replace("PredictionClient.metadata()", ""))
    assert set(named) == ServableMetadata(small_config, ()).served_fields().keys()


def test_requests_of_rest_are_json():
    bodies = [line.removeprefix("-> ") for line in TEXT.splitlines() if line.startswith(("{", "-> {"))]
    assert len(bodies) == 4
    for body in bodies:
        json.loads(body.replace("[...]", "[0]"))


def test_python_is_about_what_exists():
    (block,) = re.findall(r"```python\n(.*?)```", TEXT, re.S)
    for node in ast.walk(ast.parse(block)):
        if isinstance(node, ast.ImportFrom):
            module = importlib.import_module(node.module)
            assert all(hasattr(module, alias.name) for alias in node.names)
    for method in re.findall(r"client\.(\w+)\(", block):
        assert callable(getattr(PredictionClient, method))

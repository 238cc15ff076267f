"""docs/serving.md speaks of the flags, defaults, signatures and fields that there are."""

import ast
import importlib
import inspect
import json
import re
import shlex
from pathlib import Path

import pytest
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2, types_pb2

from pemt_tf import cli
from pemt_tf.client.prediction_client import PredictionClient
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
        cli.make_parser().parse_args(shlex.split(command)[1:])


def test_metadata_fields(small_config):
    sentence = re.search(r"- `metadata` takes names of fields: (.*?)\. It answers", TEXT, re.S)[1]
    named = re.findall(r"`(\w+)`", sentence.replace("PredictionClient.metadata()", ""))
    assert set(named) == ServableMetadata(small_config, ()).served_fields().keys()


def tensor(dtype=types_pb2.DT_FLOAT, sizes=(2,), **content):
    proto = tensor_pb2.TensorProto(dtype=dtype, **content)
    for size in sizes:
        proto.tensor_shape.dim.add(size=size)
    return proto


def parsed(proto):
    """By `Tensor::FromProto`, as in the server."""
    return tf.raw_ops.ParseTensor(serialized=proto.SerializeToString(), out_type=proto.dtype or 1).numpy().tolist()


@pytest.mark.parametrize(
    "proto",
    [
        tensor(tensor_content=b"1234567"),
        tensor(tensor_content=b"123456789"),
        tensor(types_pb2.DT_STRING, tensor_content=b"abc"),
        tensor(sizes=(-1,)),
        tensor(sizes=(1 << 40, 1 << 40)),
        tensor(types_pb2.DT_INVALID, float_val=[1, 2]),
        tensor(types_pb2.DT_FLOAT_REF, float_val=[1, 2]),
    ],
)
def test_what_is_a_tensor_parsing_error(proto):
    with pytest.raises((tf.errors.InvalidArgumentError, TypeError)):
        parsed(proto)


def test_tensors_that_do_not_fit_and_are_taken():
    assert parsed(tensor(float_val=[5])) == [5, 5]
    assert parsed(tensor(float_val=[1, 2, 3])) == [1, 2]
    assert parsed(tensor(int_val=[1, 2])) == [0, 0]
    assert all(text in TEXT for text in ("the last is repeated", "the rest is dropped", "are read as zeros"))


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

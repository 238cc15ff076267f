"""No NaN and no infinity in JSON, written or read."""

from __future__ import annotations

import ast
import json
import math
from pathlib import Path

import numpy as np
import pytest

from pemt_tf.errors import PemtError
from pemt_tf.files.strict_json import finite_or_none, json_text, read_json
from pemt_tf.models.finite_outputs import require_finite

ROOT = Path(__file__).resolve().parents[2]
# Where figures are written: nothing there goes around the one writer.
WRITERS = (
    "pemt_tf/evaluation",
    "pemt_tf/commands",
    "pemt_tf/report",
    "beam_jobs/embedding",
    "pemt_tf/orchestration/nodes/card_writer.py",
)
# Names, places and counts of what is to be done; no figures.
NO_FIGURES = ("run_commands.py", "sources.py", "files.py")


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, np.float64("nan")])
def test_the_field_is_named(number):
    with pytest.raises(PemtError, match=r"the field joint\.knn\[1\]\.accuracy is -?(nan|inf), which is not a figure"):
        json_text({"clips": 3, "joint": {"knn": [{"accuracy": 0.5}, {"accuracy": number}]}})


def test_what_is_finite_is_json():
    assert json.loads(json_text({"a": [1, 2.5, None, "nan"]}, indent=2)) == {"a": [1, 2.5, None, "nan"]}
    assert finite_or_none({"loss": 0.5, "norm": math.inf}) == {"loss": 0.5, "norm": None}


@pytest.mark.parametrize("text", ["[NaN]", '{"a": Infinity}', '{"a": -Infinity}'])
def test_what_older_releases_wrote_is_no_figure(text):
    with pytest.raises(ValueError, match="which is not a figure"):
        read_json(text)


def test_clips_are_named():
    values = np.zeros((6, 2, 3))
    require_finite(values, list("abcdef"))
    values[1, 1, 2], values[[3, 4, 5], 0, 0] = np.nan, -np.inf
    with pytest.raises(PemtError, match=r"^the answer for clip 'b', clip 'd', clip 'e' and 1 more is NaN or infinite"):
        require_finite(values, list("abcdef"), "the answer")
    require_finite(np.zeros((0, 4)))


def test_figures_are_written_by_the_one_writer():
    found = []
    for place in WRITERS:
        path = ROOT / place
        for file in [path] if path.is_file() else sorted(path.rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Attribute) and node.attr in ("dump", "dumps") and file.name not in NO_FIGURES:
                    found.append(f"{file.name}:{node.lineno}")
    assert not found

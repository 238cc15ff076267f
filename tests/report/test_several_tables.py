"""Page and card of a run with several labels a clip: figures of labels and modalities, nothing of accuracy."""

from __future__ import annotations

import json

import pytest

from pemt_tf.config import Config
from pemt_tf.errors import PemtError
from pemt_tf.report.model_card import model_card
from pemt_tf.report.run_files import RunFiles
from pemt_tf.report.run_report import run_page
from tests.report.fake_run import HASH, PARAMETERS, write_run
from tests.report.test_report_page import Page

CONFIG = Config.from_preset("tiny").with_overrides(["finetune.labels=multiple"])


def row(label: str, clips: int, precision: float | None, auc: float | None, d_prime: float | None) -> dict:
    return {"label": label, "clips": clips, "average_precision": precision, "auc": auc, "d_prime": d_prime}


def evaluation() -> dict:
    """12 clips; "horn" has no clip, and every clip has "speech"."""
    rows = [row("dog", 3, 0.625, 0.889, 1.727), row("speech", 12, 1.0, None, None), row("horn", 0, None, None, None)]
    alone = {"clips": 11, "mean_average_precision": 0.4, "chance": 0.6, "auc": 0.5, "d_prime": 0.0, "per_class": rows}
    return {
        "split": "test",
        "labels": ["dog", "speech", "horn"],
        "clips": 12,
        "mean_average_precision": 0.8125,
        "interval": [0.7011, 0.9022],
        "auc": 0.889,
        "d_prime": 1.727,
        "chance": 0.625,
        "without_positive": 1,
        "without_negative": 1,
        "per_class": rows,
        "modalities": {"visual": {**alone, "per_class": [row("dog", 3, 0.25, 0.4, -0.36)]}, "audio": alone},
        "bootstrap": {"seed": 3, "resamples": 1000, "unit": "source file", "units": 8},
        "selection": "last step",
        "caution": "the model was trained on these clips",
        "data_hash": HASH,
        "predictions": [],
    }


@pytest.fixture
def folder(tmp_path):
    path = write_run(tmp_path / "run", CONFIG, labels=("dog", "speech", "horn"))
    (path / "evaluation-test.json").write_text(json.dumps(evaluation()))
    return path


def test_the_page(folder):
    html = run_page(RunFiles.read(folder), PARAMETERS, None, None)
    text = " ".join(html.replace("\N{NO-BREAK SPACE}", " ").split())
    sections = [attributes["id"] for attributes in Page(html).all("section")]
    assert "labels" in sections and "confusion" not in sections and "calibration" not in sections
    for shown in (
        "mean average precision on 12 clips of the test split",
        "95 % interval 70.1 to 90.2 %; chance 62.5 %; AUC 0.889; d&#39; 1.73; caution: the model was trained",
        "visual alone",
        "1 label fits no clip of the split test: none of the figures.",
        "1 label fits every clip of the split test: no AUC.",
        "1,000 bootstrap resamples of 8 source files, seed 3",
        "Without a clip in this split: horn.",
    ):
        assert shown in text, shown
    assert "Top-1" not in text and "top-1" not in text


def test_the_card(folder):
    card = model_card(RunFiles.read(folder), PARAMETERS, None).replace("\N{NO-BREAK SPACE}", " ")
    assert "predicting which of 3 labels fit a clip with frames, audio, or both: dog, speech, horn." in card
    assert "| test | both | 12 | 81.2 % (70.1 to 90.2 %) | 62.5 % | 0.889 | 1.73 |" in card
    assert "| test | audio alone | 11 | 40.0 % | 60.0 % | 0.500 | 0.00 |" in card
    assert "| dog | 62.5 % | 25.0 % | 62.5 % | 0.889 | 1.73 | 3 |" in card
    assert "Each label has a score of its own" in card and "always predicts one of its labels" not in card
    assert "Top-1" not in card


def test_a_file_without_its_figures_is_refused(folder):
    values = evaluation()
    del values["chance"]
    (folder / "evaluation-test.json").write_text(json.dumps(values))
    with pytest.raises(PemtError, match=r"evaluation-test.json has no field 'chance'; run `pemt evaluate` again"):
        RunFiles.read(folder)

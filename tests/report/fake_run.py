"""Folders of runs as the commands leave them, made of invented figures."""

from __future__ import annotations

import json
from pathlib import Path

from pemt_tf.config import Config
from pemt_tf.models.parameter_report import ParameterReport, ParameterRow
from pemt_tf.training.run_directory import BACKBONE, RunDirectory

PARAMETERS = ParameterReport((ParameterRow("Visual CNN", 200_000, "all segments"),), 200_000, 3_100, 9_900)
HASH = "0123456789abcdef" * 4


def write_run(folder: Path, config: Config, labels=("dog", "cat"), kind="finetune", finished=True, **more) -> Path:
    """A run of 40 logged steps; `evaluation` and `probe` add their files."""
    run = RunDirectory(folder)
    description = {"kind": kind, "data": "out/my records", "data_hash": HASH, "split": "train"}
    if kind == "finetune":
        description |= {"labels": list(labels), "initial": None, "selection": "last step"}
    run.start(config, {**description, **more})
    for step in range(10, 41, 10):
        row = {"step": step, "loss": 40 / step, "accuracy": step / 50, "learning_rate": 1e-3, "gradient_norm": 2.0}
        run.append_metrics({**row, "input_wait_share": 0.01, "steps_per_second": 3.0})
    run.append_metrics({"step": 40, "validation_loss": 1.25, "validation_accuracy": 0.7})
    if finished:
        (folder / BACKBONE).touch()
    return folder


def evaluation(labels=("dog", "cat")) -> dict:
    """What `pemt evaluate` writes: 9 of 12 clips right, one label of three without a clip."""
    bins = [{"low": 0.0, "high": 0.5, "clips": 0, "confidence": None, "accuracy": None}]
    bins.append({"low": 0.5, "high": 1.0, "clips": 12, "confidence": 0.9, "accuracy": 0.75})
    return {
        "split": "test",
        "labels": list(labels),
        "clips": 12,
        "accuracy": 0.75,
        "interval": [0.4677, 0.9111],
        "top5": 1.0,
        "top5_interval": [0.7575, 1.0],
        "chance": 0.5,
        "confusion": [[5, 1], [2, 4]],
        "per_class": [
            {"label": labels[0], "clips": 6, "accuracy": 5 / 6, "interval": [0.4365, 0.9699]},
            {"label": labels[1], "clips": 6, "accuracy": 4 / 6, "interval": [0.3, 0.9032]},
        ],
        "calibration": {"expected_calibration_error": 0.15, "bins": bins, "brier": 0.41},
        "bootstrap": {"seed": 3, "resamples": 2000, "unit": "source file", "units": 8, "accuracy": [0.401, 0.951]},
        "views": 3,
        "crops": 3,
        "selection": "last step",
        "data_hash": HASH,
        "predictions": [],
    }


def probe() -> dict:
    """What `pemt probe` writes."""
    linear = {"accuracy": 0.625, "interval": [0.351, 0.842], "regularization": 0.1, "chosen_on": "5 folds of train"}
    voting = {"k": 5, "accuracy": 0.5, "interval": [0.254, 0.746]}
    found = {"recall_at_1": 0.125, "recall_at_5": 0.5, "recall_at_10": 0.875, "median_rank": 5.5, "clips": 12}
    return {
        "split": "test",
        "features": "pooled",
        "labels_per_class": None,
        "seed": 4,
        "visual": {"linear": linear, "knn": voting},
        "joint": {"linear": {**linear, "accuracy": 0.666}, "knn": voting},
        "retrieval_methods": {
            "linear_map": {"audio_to_video": found, "video_to_audio": {**found, "recall_at_1": 0.25}}
        },
        "alignment": 0.432,
        "uniformity": {"visual": -1.987},
        "spread": {"visual": 0.321},
    }


def write_results(folder: Path, labels=("dog", "cat")) -> None:
    """Adds the files of an evaluation and of a probe."""
    (folder / "evaluation-test.json").write_text(json.dumps(evaluation(labels)), encoding="utf-8")
    (folder / "probe-test.json").write_text(json.dumps(probe()), encoding="utf-8")

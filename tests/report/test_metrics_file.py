"""Metrics files: whole, of resumed and killed runs, damaged."""

from __future__ import annotations

import numpy as np
import pytest

from pemt_tf.errors import PemtError
from pemt_tf.report.contents import Series
from pemt_tf.report.metrics_file import read_metrics


def test_metrics_are_read_by_field(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text(
        '{"step": 10, "loss": 3.5, "mep_audio": 2, "learning_rate": 0.1, "clips_per_second": 50.0, "note": "x"}\n'
        '{"step": 20, "loss": NaN, "mep_audio": 1.5, "best": true}\n'
        '{"step": 30, "loss": 2.5}\n'
        '{"step": 40, "loss": null}\n'
    )
    metrics = read_metrics(path)
    assert list(metrics) == ["loss", "mep_audio"]
    assert metrics["mep_audio"] == Series((10, 20), (2.0, 1.5))
    # What older releases wrote as NaN is null today.
    assert metrics["loss"].steps == (10, 20, 30, 40) and np.isnan(metrics["loss"].values).tolist() == [0, 1, 0, 1]
    assert "learning_rate" in read_metrics(path, leave_out=("step",))


def test_metrics_of_a_resumed_and_of_a_killed_run(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "loss": 9}\n{"step": 2, "loss": 8}\n{"step": 2, "loss": 7}\n{"step": 3, "lo')
    assert read_metrics(path) == {"loss": Series((1, 2), (9.0, 7.0))}


def test_damaged_metrics_are_one_clear_sentence(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"loss": 9}\n{"step": 2, "loss": 8}\n')
    with pytest.raises(PemtError, match=r"metrics.jsonl line 1 is not a JSON object with a step"):
        read_metrics(path)
    with pytest.raises(PemtError, match=r"cannot read the metrics file .*: No such file or directory"):
        read_metrics(tmp_path / "none.jsonl")

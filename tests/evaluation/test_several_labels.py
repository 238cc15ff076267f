"""Evaluation of several labels a clip: a run against scikit-learn, modalities alone, files, and small cases by hand."""

import contextlib
import dataclasses
import io
import json

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from pemt_tf import cli
from pemt_tf.commands.finetune import validation_line
from pemt_tf.data.clip_source import ClipSource
from pemt_tf.data.input_pipeline import evaluation_clips, model_inputs, read_batches
from pemt_tf.errors import PemtError
from pemt_tf.evaluation.classification import evaluate
from pemt_tf.evaluation.multi_view import ViewPlan
from pemt_tf.evaluation.several_labels import JOINT, Scores, _gather, evaluate_several, score_clips, summarize_scores
from tests.several_labels import write_several


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory, several_run, several_source):
    """What the command prints, and what it writes."""
    path = tmp_path_factory.mktemp("evaluated") / "e.json"
    out = io.StringIO()
    arguments = ["--model", str(several_run.path), "--data", str(several_source.directory), "--output", str(path)]
    with contextlib.redirect_stdout(out):
        assert cli.main(["evaluate", *arguments]) == 0
    return out.getvalue(), json.loads(path.read_text())


def test_a_run_learns_labels_that_are_independent_of_each_other(several_run):
    """Random scores have the mean average precision of the share of clips, about 0.5 (of those with a label)."""
    rows = [row for row in several_run.metrics() if "validation_mean_average_precision" in row]
    assert [row["step"] for row in rows] == [30, 60]
    assert all("accuracy" not in row for row in several_run.metrics())
    best = max(row["validation_mean_average_precision"] for row in rows)
    assert best > 0.65
    line = validation_line(several_run.metrics(), "best_validation")
    assert line.startswith(f"validation mean average precision: {best:.1%} at step ")
    assert line.endswith(", which was chosen by it")


def test_a_run_that_learned_is_measured_as_scikit_learn_does(evaluated, several_run, several_source):
    """And above chance by a margin: random scores reach the share of clips that have a label."""
    out, result = evaluated
    model, _ = several_run.load_classifier()
    scores, truth = [], []
    for batch in evaluation_clips(several_source, "test", 16, labelled=True, every_label=True):
        scores.append(model(model_inputs(batch, ("visual", "audio")))["scores"])
        truth.append(batch["targets"])
    scores, truth = np.concatenate(scores), np.concatenate(truth)
    value = result["mean_average_precision"]
    assert value == pytest.approx(average_precision_score(truth, scores), abs=1e-3)  # scores differ in rounding
    assert result["clips"] == len(truth) == several_source.labelled["test"] < 48
    assert result["chance"] == pytest.approx(np.mean(truth)) and value > result["chance"] + 0.15
    low, high = result["interval"]
    assert low < value < high
    assert f"mean average precision {value:.1%} (95 % interval {low:.1%} to {high:.1%}) on {len(truth)} clips" in out
    names = [[several_source.labels[n] for n in np.flatnonzero(row)] for row in truth]
    assert [one["labels"] for one in result["predictions"]] == names
    best = [max(one["best"], key=lambda pair: pair[1])[0] for one in result["predictions"]]
    assert best == [one["best"][0][0] for one in result["predictions"]]


def test_each_modality_alone_knows_its_own_labels(evaluated):
    """label0 and label1 are heard, label2 is seen."""
    out, result = evaluated
    precision = {
        kind: [row["average_precision"] for row in found["per_class"]] for kind, found in result["modalities"].items()
    }
    assert set(precision) == {"visual", "audio"}
    assert precision["visual"][2] > precision["audio"][2] + 0.1
    assert precision["audio"][0] + precision["audio"][1] > precision["visual"][0] + precision["visual"][1] + 0.2
    assert f"visual alone {result['modalities']['visual']['mean_average_precision']:.1%}" in out


@pytest.mark.slow
def test_a_modality_alone_is_as_a_clip_without_the_other(several_run, several_source):
    """The parser gives zeros for what is not there."""
    model, _ = several_run.load_classifier()
    found = score_clips(model, several_source, "test", 4, ViewPlan(), np.arange(3))
    batch = next(iter(evaluation_clips(several_source, "test", 4, labelled=True)))
    silent = {**batch, "log_mel": 0 * batch["log_mel"], "audio_mask": 0 * batch["audio_mask"]}
    scores = model(model_inputs(silent, ("visual", "audio")))["scores"]
    np.testing.assert_allclose(found["visual"].values[:4], scores, atol=1e-5)
    scores = model(model_inputs(batch, ("visual", "audio")))["scores"]
    np.testing.assert_allclose(found[JOINT].values[:4], scores, atol=1e-5)


def test_other_labels_are_refused(several_run, several_source):
    other = dataclasses.replace(several_source, labels=("label0", "label1", "siren"))
    with pytest.raises(PemtError, match="label 'siren' is not one of the model's"):
        evaluate_several(several_run, other)
    with pytest.raises(PemtError, match="predicts several labels a clip"):
        evaluate(several_run, several_source)


def scores_of(values, truth, paths="") -> dict[str, Scores]:
    ids = [f"clip{number}" for number in range(len(values))]
    return {JOINT: Scores(np.array(values, float), np.array(truth, bool), ids, list(paths or ids))}


def test_summary_by_hand():
    """The first label ranks 1 0 1, the second has no clip, the third all of them."""
    values = [[0.9, 0.5, 0.1], [0.8, 0.1, 0.2], [0.7, 0.2, 0.3]]
    truth = [[1, 0, 1], [0, 0, 1], [1, 0, 1]]
    result = summarize_scores("test", ["a", "b", "c"], scores_of(values, truth), views=4)
    assert result.mean_average_precision == pytest.approx((5 / 6 + 1) / 2)
    assert (result.auc, result.d_prime) == (0.5, 0.0)
    assert (result.without_positive, result.without_negative, result.views) == (1, 1, 4)
    assert result.predictions[1] == {"id": "clip1", "labels": ["c"], "best": [("a", 0.8), ("c", 0.2), ("b", 0.1)]}
    assert result.summary.startswith("test: mean average precision 91.7% (95 % interval ")
    assert result.summary.endswith(
        " on 3 clips and 2 labels; chance 83.3%; AUC 0.500; d' 0.00; labels without a clip, left out: 1"
    )


def test_clips_of_a_file_are_averaged_if_they_have_the_same_labels():
    rows = [(np.array([0.2, 0.4]), np.array([True, False]), f"b#{n}", "b") for n in range(2)]
    rows[1] = (np.array([0.6, 0.0]), *rows[1][1:])
    rows.append((np.array([0.1, 0.9]), np.array([False, True]), "a", "a"))
    files = _gather(rows, "path")
    assert files.ids == files.paths == ["a", "b"]
    np.testing.assert_allclose(files.values, [[0.1, 0.9], [0.4, 0.2]])
    assert files.truth.tolist() == [[False, True], [True, False]]
    rows[1] = (rows[1][0], np.array([True, True]), "b#1", "b")
    with pytest.raises(PemtError, match="the clips of b have different labels"):
        _gather(rows, "path")


def test_labels_outside_the_vocabulary_are_damage(small_config, tmp_path):
    source = ClipSource.open(write_several(tmp_path / "data", small_config.geometry))
    narrow = dataclasses.replace(source, labels=("label0", "label1"))
    with pytest.raises(PemtError, match=r"label 2, but the vocabulary has 2 labels"):
        list(read_batches(evaluation_clips(narrow, "test", 8, every_label=True), narrow, "test"))

"""Accuracy and its uncertainty, against figures from elsewhere and cases small enough to do by hand."""

import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize

from pemt_tf.data.input_pipeline import evaluation_clips, model_inputs
from pemt_tf.errors import PemtError
from pemt_tf.evaluation.classification import evaluate, summarize, wilson_interval


@pytest.mark.parametrize(
    ("correct", "total", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),  # Newcombe (1998), Statistics in Medicine 17, table I, method 3
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_interval_of_the_literature(correct, total, low, high):
    assert wilson_interval(correct, total) == pytest.approx((low, high), abs=5e-5)


@given(total=st.integers(1, 3000), share=st.floats(0, 1))
def test_wilson_interval_solves_its_defining_equation(total, share):
    """Its ends are the proportions p that lie 1.96 of their own standard errors from the observed share."""
    correct = round(share * total)
    low, high = wilson_interval(correct, total)
    observed = correct / total
    assert 0 <= low <= observed + 1e-12 and observed - 1e-12 <= high <= 1

    def distance(p):
        return (observed - p) ** 2 - 1.959963984540054**2 * p * (1 - p) / total

    if 0 < correct < total:
        assert low == pytest.approx(optimize.brentq(distance, 0, observed), abs=1e-9)
        assert high == pytest.approx(optimize.brentq(distance, observed, 1), abs=1e-9)


def test_summarize_by_hand():
    probabilities = np.array(
        [
            [0.7, 0.1, 0.1, 0.04, 0.03, 0.03],  # a, right
            [0.2, 0.3, 0.1, 0.2, 0.1, 0.1],  # b, is a
            [0.3, 0.25, 0.2, 0.1, 0.1, 0.05],  # a, is f: not even among five
            [0.1, 0.1, 0.1, 0.1, 0.1, 0.5],  # f, right
        ]
    )
    result = summarize("test", list("abcdef"), np.array([0, 0, 5, 5]), probabilities, ["w", "x", "y", "z"])
    assert (result.clips, result.accuracy, result.top5, result.chance) == (4, 0.5, 0.75, 1 / 6)
    assert result.interval == pytest.approx((0.15003, 0.84997), abs=1e-5)
    expected = [[0] * 6 for _ in range(6)]
    expected[0][0] = expected[0][1] = expected[5][0] = expected[5][5] = 1
    assert result.confusion == expected
    assert result.predictions[1] == {"id": "x", "label": "a", "predicted": "b", "probability": 0.3}
    assert result.summary == (
        "test: accuracy 50.0% (95 % interval 15.0% to 85.0%) on 4 clips; chance 16.7%; top-5 75.0%"
    )


def test_written_as_json(tmp_path):
    result = summarize("test", ["a", "b"], np.array([1]), np.array([[0.25, 0.75]], np.float32), ["x"])
    result.write(tmp_path / "new/evaluation.json")
    values = json.loads((tmp_path / "new/evaluation.json").read_text())
    assert values["confusion"] == [[0, 0], [0, 1]] and values["predictions"][0]["probability"] == 0.75


def test_evaluate_classifies_every_labelled_clip(finetuning_run, clip_source):
    """The same answers as one clip at a time; the last batch is smaller than the others."""
    result = evaluate(finetuning_run, clip_source, batch_size=3)
    assert result.clips == 8 and result.chance == pytest.approx(1 / 3)
    model, labels = finetuning_run.load_classifier()
    expected = {}
    for batch in evaluation_clips(clip_source, "test", 1, labelled=True):
        row = model(model_inputs(batch, ("visual", "audio")), training=False)["probabilities"][0].numpy()
        expected[batch["id"].numpy()[0].decode()] = (labels[int(batch["label"][0])], labels[row.argmax()], row.max())
    assert [p["id"] for p in result.predictions] == list(expected)
    for p in result.predictions:
        label, predicted, probability = expected[p["id"]]
        assert (p["label"], p["predicted"]) == (label, predicted)
        assert p["probability"] == pytest.approx(float(probability), abs=1e-5)
    right = sum(label == predicted for label, predicted, _ in expected.values())
    assert result.accuracy == right / 8 and math.isfinite(result.interval[0])


def test_refusals(finetuning_run, pretraining_run, clip_source):
    with pytest.raises(PemtError, match="has no split 'validation'"):
        evaluate(finetuning_run, clip_source, split="validation")
    with pytest.raises(PemtError, match="holds no classifier"):
        evaluate(pretraining_run, clip_source)
    geometry = dataclasses.replace(clip_source.geometry, mel_bins=17)
    with pytest.raises(PemtError, match="mel_bins: 16 here, 17 there"):
        evaluate(finetuning_run, dataclasses.replace(clip_source, geometry=geometry))
    with pytest.raises(PemtError, match=r"has other labels than the model \(label 'zebra' is not one of the model's\)"):
        evaluate(finetuning_run, dataclasses.replace(clip_source, labels=("label0", "label1", "zebra")))
    with pytest.raises(PemtError, match=r"\(the order or number differs\)"):
        evaluate(finetuning_run, dataclasses.replace(clip_source, labels=("label1", "label0", "label2")))

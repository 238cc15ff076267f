"""Figures of a classifier: cases small enough to do by hand, and a run against one clip at a time."""

import dataclasses
import json

import numpy as np
import pytest
from scipy import special

from pemt_tf.data.input_pipeline import evaluation_clips, model_inputs
from pemt_tf.errors import PemtError
from pemt_tf.evaluation.cautions import find_caution
from pemt_tf.evaluation.classification import evaluate, summarize
from pemt_tf.evaluation.multi_view import ViewPlan, Votes


def votes(probabilities, truth, ids, paths=None):
    ids = list(ids)
    return Votes(np.array(probabilities), np.array(truth), ids, list(paths or [f"{i}.mp4" for i in ids]))


def test_summarize_by_hand():
    probabilities = [
        [0.7, 0.1, 0.1, 0.04, 0.03, 0.03],  # a, right
        [0.2, 0.3, 0.1, 0.2, 0.1, 0.1],  # b, is a
        [0.3, 0.25, 0.2, 0.1, 0.1, 0.05],  # a, is f: not even among five
        [0.1, 0.1, 0.1, 0.1, 0.1, 0.5],  # f, right
    ]
    result = summarize("test", list("abcdef"), votes(probabilities, [0, 0, 5, 5], "wxyz"))
    assert (result.clips, result.accuracy, result.top5, result.chance) == (4, 0.5, 0.75, 1 / 6)
    assert result.interval == pytest.approx((0.15003, 0.84997), abs=1e-5)
    assert result.top5_interval == pytest.approx((0.30064, 0.95441), abs=1e-5)
    assert (result.bootstrap["unit"], result.bootstrap["units"]) == ("clip", 4)
    assert result.bootstrap["accuracy"] == (0.0, 1.0)  # 4 draws of 2 right and 2 wrong: 6 % are all right
    none = {"clips": 0, "accuracy": None, "interval": None}
    assert result.per_class[1:5] == [{"label": label, **none} for label in "bcde"]
    assert (result.per_class[0]["label"], result.per_class[0]["clips"], result.per_class[0]["accuracy"]) == (
        "a",
        2,
        0.5,
    )
    assert result.per_class[5]["interval"] == pytest.approx((0.09453, 0.90547), abs=1e-5)
    # Confidences 0.7 and 0.5 are right, two of 0.3 are wrong; each level is a bin of its own.
    assert result.calibration["expected_calibration_error"] == pytest.approx((0.3 + 0.5 + 2 * 0.3) / 4)
    expected = [[0] * 6 for _ in range(6)]
    expected[0][0] = expected[0][1] = expected[5][0] = expected[5][5] = 1
    assert result.confusion == expected
    assert result.predictions[1] == {"id": "x", "label": "a", "predicted": "b", "probability": 0.3}
    assert result.summary == (
        "test: accuracy 50.0% (95 % interval 15.0% to 85.0%) on 4 clips; chance 16.7%; top-5 75.0%"
    )


def test_written_as_json(tmp_path):
    result = summarize("test", ["a", "b"], votes([[0.25, 0.75]], [1], ["x"]), views=4, data_hash="f")
    result.write(tmp_path / "new/evaluation.json")
    values = json.loads((tmp_path / "new/evaluation.json").read_text())
    assert values["confusion"] == [[0, 0], [0, 1]] and values["predictions"][0]["probability"] == 0.75
    assert (values["views"], values["crops"], values["selection"], values["data_hash"]) == (4, 1, "last step", "f")
    with pytest.raises(PemtError, match=r"cannot write .*x/y.json: File exists"):
        (tmp_path / "x").write_text("")
        result.write(tmp_path / "x/y.json")


def test_clips_that_share_a_file_have_the_wider_interval_in_the_summary():
    """Two files of 20 clips, one all right and one all wrong: anything from 0 to 100 % is possible."""
    truth = [0] * 40
    probabilities = [[0.9, 0.1]] * 20 + [[0.2, 0.8]] * 20
    paths = ["a"] * 20 + ["b"] * 20
    result = summarize("test", ["x", "y"], votes(probabilities, truth, map(str, range(40)), paths))
    assert (result.bootstrap["unit"], result.bootstrap["units"]) == ("source file", 2)
    assert "accuracy 50.0% (95 % interval 0.0% to 100.0%) on 40 clips" in result.summary
    assert result.interval == pytest.approx((0.3520, 0.6480), abs=1e-4)  # as if they were independent


@pytest.fixture(scope="module")
def one_by_one(finetuning_run, clip_source):
    """Of every labelled test clip: its label, and the softmax of both heads, [3 crops, segments, classes], summed."""
    model, _ = finetuning_run.load_classifier()
    expected = {}
    for batch in evaluation_clips(clip_source, "test", 1, labelled=True, crops=3):
        votes = []
        for crop in range(3):
            one = {**batch, "frames": batch["frames"][:, crop]}
            logits = model(model_inputs(one, ("visual", "audio")), training=False)["logits"]
            votes.append(sum(special.softmax(logits[head].numpy()[0], axis=-1) for head in ("clip", "sequence")))
        expected[batch["id"].numpy()[0].decode()] = (int(batch["label"][0]), np.array(votes))
    return expected


@pytest.mark.parametrize(
    ("plan", "crops", "segments"),
    [
        (ViewPlan(), [1], [0, 1, 2]),
        (ViewPlan(crops=3), [0, 1, 2], [0, 1, 2]),
        (ViewPlan(views=1), [1], [1]),
    ],
    ids=["one-crop", "three-crops", "one-view"],
)
def test_evaluate_classifies_every_labelled_clip(finetuning_run, clip_source, one_by_one, plan, crops, segments):
    """The same answers as one clip at a time; the last batch is smaller than the others."""
    result = evaluate(finetuning_run, clip_source, batch_size=3, plan=plan)
    assert result.clips == 8 and result.chance == pytest.approx(1 / 3)
    assert (result.views, result.crops, result.sum_over) == (len(segments), len(crops), "clip")
    assert (result.selection, result.caution, result.data_hash) == ("last step", "", "f" * 64)
    assert [p["id"] for p in result.predictions] == list(one_by_one)
    right = 0
    for p in result.predictions:
        label, clip_votes = one_by_one[p["id"]]
        sums = clip_votes[crops][:, segments].sum(axis=(0, 1))
        assert (p["label"], p["predicted"]) == (f"label{label}", f"label{sums.argmax()}")
        assert p["probability"] == pytest.approx(sums.max() / sums.sum(), abs=1e-5)
        right += sums.argmax() == label
    assert result.accuracy == right / 8


def test_crops_differ_for_clips_with_pictures_only(one_by_one):
    """Pictures are wider than high; numbers 5 and 7 have none, and their three crops must vote alike."""
    for clip_id, (_, clip_votes) in one_by_one.items():
        alike = np.allclose(clip_votes[0], clip_votes[1], atol=1e-6) or np.allclose(
            clip_votes[1], clip_votes[2], atol=1e-6
        )
        assert alike == (int(clip_id[-1]) in (5, 7))


def test_clips_that_training_saw_are_named(finetuning_run, clip_source):
    result = evaluate(finetuning_run, clip_source, split="train", batch_size=11)
    assert result.caution == "the model was trained on these clips"
    assert result.summary.endswith("; caution: the model was trained on these clips")


@pytest.mark.parametrize(
    ("split", "selection", "caution"),
    [
        ("validation", "best validation step", "the weights were chosen on these clips"),
        ("validation", "last step", ""),
        ("test", "best validation step", ""),
        ("train", "best validation step", "the model was trained on these clips"),
    ],
)
def test_caution(clip_source, split, selection, caution):
    description = {"data_hash": clip_source.content_hash, "split": "train", "selection": selection}
    assert find_caution(description, clip_source, split) == caution
    assert find_caution({**description, "data_hash": "0"}, clip_source, split) == ""  # a split of other data


def test_refusals(finetuning_run, pretraining_run, clip_source):
    with pytest.raises(PemtError, match="has no split 'validation'"):
        evaluate(finetuning_run, clip_source, split="validation")
    with pytest.raises(PemtError, match="holds no classifier"):
        evaluate(pretraining_run, clip_source)
    with pytest.raises(PemtError, match="4 views are asked for, but a clip of this geometry has 3 segments"):
        evaluate(finetuning_run, clip_source, plan=ViewPlan(views=4))
    geometry = dataclasses.replace(clip_source.geometry, mel_bins=17)
    with pytest.raises(PemtError, match="mel_bins: 16 here, 17 there"):
        evaluate(finetuning_run, dataclasses.replace(clip_source, geometry=geometry))
    with pytest.raises(PemtError, match=r"has other labels than the model \(label 'zebra' is not one of the model's\)"):
        evaluate(finetuning_run, dataclasses.replace(clip_source, labels=("label0", "label1", "zebra")))
    with pytest.raises(PemtError, match=r"\(the order or number differs\)"):
        evaluate(finetuning_run, dataclasses.replace(clip_source, labels=("label1", "label0", "label2")))

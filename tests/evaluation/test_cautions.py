"""What is said where figures mean less than they seem to."""

from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import pytest

from pemt_tf.data.dataset_card import CARD_NAME
from pemt_tf.evaluation.cautions import find_caution, probe_caution
from pemt_tf.evaluation.classification import evaluate, summarize
from pemt_tf.evaluation.multi_view import Votes
from pemt_tf.training.history import training_history
from tests.fake_dataset import replace_card


@pytest.fixture
def source(clip_source, dataset_directory, tmp_path):
    """The shared data set, with a folder of its own for what is said of duplicates."""
    shutil.copy(dataset_directory / CARD_NAME, tmp_path)
    pairs = [
        ("fake-000001", "train", "fake-001000", "test"),
        ("fake-000002", "train", "fake-001000", "test"),  # the same test clip again
        ("fake-001003", "test", "fake-000004", "train"),
        ("fake-001004", "test", "fake-001005", "test"),  # within the test: says nothing of training
        ("fake-001006", "test", "fake-002000", "validation"),
    ]
    names = ("first", "first_split", "second", "second_split")
    lines = [json.dumps(dict(zip(names, pair, strict=True))) + "\n" for pair in pairs]
    (tmp_path / "duplicates.jsonl").write_text("".join(lines))
    return dataclasses.replace(clip_source, directory=tmp_path)


def run(kind, split, data_hash="f" * 64, **more):
    return {"kind": kind, "split": split, "data_hash": data_hash, "selection": "last step", **more}


PRETRAINED = {"kind": "pretrain", "split": "train", "data_hash": "f" * 64}


def test_near_duplicates_of_training_clips(source):
    said = "2 clips of this split are near-duplicates of training clips (duplicates.jsonl)"
    assert find_caution(run("finetune", "train"), source, "test") == said
    assert find_caution(run("finetune", "train", "other"), source, "test") == ""
    # Pretraining on another data set, fine-tuning on this one, and the other way round.
    history = [{**PRETRAINED, "split": "validation"}]
    assert find_caution(run("finetune", "train", history=history), source, "test").startswith("3 clips of this split")
    assert find_caution(run("finetune", "train", "other", history=[PRETRAINED]), source, "test") == said
    nothing = dataclasses.replace(source, directory=source.directory / "without")
    assert find_caution(run("finetune", "train"), nothing, "test") == ""


def test_clips_that_were_left_out_are_no_duplicates(source):
    path = source.directory / "duplicates.jsonl"
    pairs = [json.loads(line) for line in path.read_text().splitlines()]
    tuned = run("finetune", "train")
    told = [{**pair, "left_out": [pair["first"]] if number < 2 else []} for number, pair in enumerate(pairs)]
    path.write_text("".join(json.dumps(pair) + "\n" for pair in told))
    assert find_caution(tuned, source, "test").startswith("1 clip of this split is a near-duplicate of training clips")
    # Older releases did not say which of the clips they left out.
    path.write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    replace_card(source.directory, command="python -m beam_jobs.preprocess --drop_duplicates")
    assert find_caution(tuned, source, "test") == ""


def test_clips_that_the_weights_have_seen(source):
    tuned = run("finetune", "train", history=[{**PRETRAINED, "split": "validation"}])
    assert find_caution(tuned, source, "validation") == "the network was pretrained on these clips"
    twice = run("pretrain", "train", history=[{**PRETRAINED, "kind": "finetune", "split": "validation"}])
    assert find_caution(twice, source, "validation") == "the network was fine-tuned on these clips"
    chosen = run("finetune", "train") | {"selection": "best validation step"}
    assert find_caution(chosen, source, "validation") == "the weights were chosen on these clips"
    assert find_caution(chosen, source, "held", "held") == "the weights were chosen on these clips"
    assert "chosen" not in find_caution(chosen, source, "validation", "held")


def test_probes(source):
    labels = np.array([0, 1, 2])

    def said(description, train="train", split="other"):
        return probe_caution(description, source, train, split, labels, "validation")

    assert said({}) == said(PRETRAINED) == ""
    assert said(PRETRAINED, "test", "train").startswith("the model was trained on these clips")
    fitted = "the network was fine-tuned on the labels of split 'train', to which the probe is fitted"
    assert said(run("finetune", "train")) == fitted
    assert said(run("finetune", "train", "other")) == ""
    assert said({}, split="test").startswith("2 clips of this split are near-duplicates")  # of those it is fitted to
    one = probe_caution({}, source, "train", "other", np.array([1, 1]), "validation")
    assert one == "all of these clips have the label 'label1', and a model that always says so is right"


def test_a_test_of_one_label():
    votes = Votes(np.array([[0.9, 0.1], [0.6, 0.4]]), np.array([0, 0]), ["x", "y"], ["x", "y"])
    result = summarize("test", ["dog", "cat"], votes, caution="the weights were chosen on these clips")
    assert result.summary.endswith(
        "top-5 100.0% (always, with 2 labels); caution: the weights were chosen on these clips; "
        "all of these clips have the label 'dog', and a model that always says so is right"
    )


@pytest.mark.parametrize(("labels", "told"), [(5, True), (6, False)])
def test_top_5_of_few_labels(labels, told):
    votes = Votes(np.eye(labels), np.arange(labels), list(map(str, range(labels))), list(map(str, range(labels))))
    line = summarize("test", [f"l{n}" for n in range(labels)], votes).summary
    assert (f"(always, with {labels} labels)" in line) == told


def test_runs_remember_what_they_began_from(finetuning_run, pretraining_run, tmp_path):
    description = finetuning_run.description()
    tuned = {**PRETRAINED, "kind": "finetune"}
    assert description["history"] == [PRETRAINED] and training_history(description) == [tuned, PRETRAINED]
    # Runs of older releases name the folder only.
    old = {name: value for name, value in description.items() if name != "history"}
    assert training_history(old) == [tuned, PRETRAINED]
    assert training_history({**old, "initial": str(tmp_path)}) == [tuned]


def test_evaluating_a_run_says_so(finetuning_run, source):
    """In the line of the figures and in the file."""
    result = evaluate(finetuning_run, source)
    assert "; caution: 2 clips of this split are near-duplicates of training clips" in result.summary
    assert result.caution in json.dumps(dataclasses.asdict(result))

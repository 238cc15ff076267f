"""The page about a run: its sections, its figures, its commands, and what it says of what is not there."""

from __future__ import annotations

import itertools
import json
import re
import shlex

import numpy as np
import pytest

from pemt_tf.config import Config
from pemt_tf.errors import PemtError
from pemt_tf.report.attention import SummaryAttention
from pemt_tf.report.charts import reliability_diagram
from pemt_tf.report.contents import Neighbours, Series
from pemt_tf.report.held_out_clips import AttendedClip, HeldOutClips
from pemt_tf.report.run_commands import all_commands, preset_changes, training_command
from pemt_tf.report.run_files import RunFiles
from pemt_tf.report.run_report import report_run, run_page
from pemt_tf.report.run_sections import grouped_curves
from tests.report.fake_run import HASH, PARAMETERS, evaluation, write_results, write_run
from tests.report.test_charts import drawn
from tests.report.test_report_page import Page

TINY = Config.from_preset("tiny")


def held_out_clips(clip_view, label="dog"):
    query, *others = (clip_view(number, label, segments=3) for number in range(3))
    shares = {"visual": [0.1, 0.2, 0.3], "audio": [0.05, 0.07, 0.11]}
    attention = [
        SummaryAttention("joint", "visual", modality, np.float32([values]), np.float32([0.17]))
        for modality, values in shares.items()
    ]
    neighbours = (Neighbours(query, tuple(zip(others, (0.91, 0.83), strict=True))),)
    return HeldOutClips("test", "train", 250, neighbours, (AttendedClip(query, tuple(attention)),))


def shown(folder, clips=None):
    return Page(run_page(RunFiles.read(folder), PARAMETERS, None, clips))


def section_titles(page):
    return [attributes["id"] for attributes in page.all("section")]


def test_every_section_of_a_full_run_in_order(tmp_path, clip_view):
    folder = write_run(tmp_path / "run", TINY)
    write_results(folder)
    page = shown(folder, held_out_clips(clip_view))
    assert section_titles(page) == [
        "about",
        "evaluation",
        "labels",
        "confusion",
        "calibration",
        "probes",
        "curves",
        "neighbours",
        "attention",
        "parameters",
        "commands",
    ]
    links = [attributes["href"] for attributes in page.all("a")]
    assert links == [f"#{name}" for name in section_titles(page)]
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_figures_are_those_of_the_files(tmp_path, clip_view):
    folder = write_run(tmp_path / "run", TINY)
    write_results(folder)
    text = shown(folder, held_out_clips(clip_view)).text
    for words in (
        HASH,
        "75.0 % 46.8 to 91.1 %",  # top-1
        "100.0 % 75.8 to 100.0 %",  # top-5
        "40.1 to 95.1 % (2,000 resamples of 8 source files, seed 3)",
        "3 × 3",
        "dog 83.3 % 44 to 97 % 6",
        "cat 66.7 % 30 to 90 % 6",
        "12 clips predicted with 50 % to 100 %: 75.0 % correct, mean probability 90.0 %",
        "Brier score: 0.410",
        "visual 62.5 % 35.1 to 84.2 % 50.0 % 25.4 to 74.6 % 5 0.1, chosen on 5 folds of train",
        "joint 66.6 %",
        "audio to frames linear map 12.5 % 50.0 % 87.5 % 5.5 12",
        "frames to audio linear map 25.0 %",
        "Alignment 0.432",
        "Features: CNN features averaged over the segments.",
        "Uniformity visual -1.987",
        "Spread visual 0.321",
        "Searched: the first 250 clips of the train split",
        "joint: summary of frames on audio 5 7 11 17",
        "Visual CNN 200,000",
        "parameters 200,000 Transformer: 3,100 of 9,900 (-68.69 %)",
    ):
        assert words in text, words
    assert "What is missing" not in text


def test_the_page_asks_for_nothing_and_labels_stay_text(tmp_path, clip_view):
    labels = ('<script src="https://evil">&"', "</title><marquee>cat")
    folder = write_run(tmp_path / "<img src=x>", TINY, labels, selection="<i>best</i>")
    write_results(folder, labels)
    text = run_page(RunFiles.read(folder), PARAMETERS, None, held_out_clips(clip_view, labels[0]))
    page = Page(text)
    assert labels[0] in page.text and "</title><marquee>cat" in page.text
    assert not page.all("script") and not page.all("marquee") and not page.all("i")
    assert not re.search(r"<img src=x|<script", text)
    assert all(image["src"].startswith("data:") for image in page.all("img"))
    assert [link["href"] for link in page.all("link")] == ["data:,"]
    assert not re.search(r"url\(|@import|<iframe|<object", text)


def test_an_interrupted_run_says_where_it_stands_and_how_to_go_on(tmp_path):
    folder = write_run(tmp_path / "run", TINY.with_overrides(["finetune.steps=150"]), finished=False)
    page = shown(folder)
    assert section_titles(page) == ["missing", "about", "curves", "parameters", "commands"]
    assert "The training is not finished: 40 of 150 steps were logged" in page.text
    assert f"pemt finetune --data 'out/my records' --preset tiny --output {folder}" in page.text
    assert f"pemt evaluate --model {folder} --data 'out/my records' --split test" in page.text
    assert f"pemt probe --model {folder} --data 'out/my records' --split test" in page.text
    assert f"pemt report {folder} --data 'out/my records'" in page.text


def test_a_run_that_was_killed_at_once_has_a_page(tmp_path):
    folder = write_run(tmp_path / "run", TINY, kind="pretrain", finished=False)
    (folder / "metrics.jsonl").write_text('{"step": 10, "los')  # cut off
    page = shown(folder)
    assert "0 of 600 steps were logged" in page.text
    assert "no step was logged yet" in page.text
    assert "Evaluation on held-out clips" not in page.text  # there is no classifier to evaluate


def test_an_evaluation_of_an_older_release_is_shown(tmp_path):
    folder = write_run(tmp_path / "run", TINY)
    old = {name: evaluation()[name] for name in ("split", "labels", "clips", "accuracy", "interval", "confusion")}
    (folder / "evaluation-test.json").write_text(json.dumps(old))
    page = shown(folder)
    assert "75.0 % 46.8 to 91.1 %" in page.text
    assert "calibration" not in section_titles(page)
    assert "5 of 6" in page.text  # the counts beside the confusion matrix take the place of the labels' section


def test_the_test_split_comes_first(tmp_path):
    folder = write_run(tmp_path / "run", TINY)
    for split, accuracy in (("train", 0.99), ("validation", 0.8), ("test", 0.75)):
        found = {**evaluation(), "split": split, "accuracy": accuracy}
        (folder / f"evaluation-{split}.json").write_text(json.dumps(found))
    files = RunFiles.read(folder)
    assert list(files.evaluations) == ["test", "validation", "train"]
    assert "top-1 on 12 clips of the test split 75.0 %" in shown(folder).text


@pytest.mark.parametrize("text", ["", "[1, 2]", '{"split": "test"}', "\x00"])
def test_damaged_results_are_one_sentence(tmp_path, text):
    folder = write_run(tmp_path / "run", TINY)
    (folder / "evaluation-test.json").write_text(text)
    with pytest.raises(PemtError, match=r"evaluation-test\.json.*pemt evaluate"):
        RunFiles.read(folder)


def test_no_run(tmp_path):
    with pytest.raises(PemtError, match="not a training run"):
        report_run(tmp_path)


def test_the_training_command_restores_the_configuration(tmp_path):
    changes = ["pretrain.steps=40", "geometry.train_scale=[40, 44]", "model.modalities=[audio]", "pretrain.seed=7"]
    config = TINY.with_overrides([*changes, "finetune.weight_decay=3e-6", "pretrain.negatives=mini_batch"])
    folder = write_run(tmp_path / "a run", config, kind="finetune", initial="runs/it's one")
    parts = shlex.split(training_command(RunFiles.read(folder)))
    assert parts[:6] == ["pemt", "finetune", "--data", "out/my records", "--init", "runs/it's one"]
    assert parts[-2:] == ["--output", str(folder)]
    overrides = [value for flag, value in itertools.pairwise(parts) if flag == "--set"]
    assert len(overrides) == 6
    assert Config.from_preset(parts[parts.index("--preset") + 1]).with_overrides(overrides) == config


def test_a_preset_of_the_users_own_is_said_to_be_one(tmp_path, small_config):
    folder = write_run(tmp_path / "run", small_config)
    assert preset_changes(small_config) is None
    assert "--preset small.yaml" in training_command(RunFiles.read(folder))
    assert "small, not one of ours" in shown(folder).text


def test_commands_go_from_the_pretraining_run_to_the_report(tmp_path):
    first = write_run(tmp_path / "first", TINY, kind="pretrain")
    folder = write_run(tmp_path / "second", TINY, initial=str(first))
    write_results(folder)
    commands = all_commands(RunFiles.read(folder), None)
    assert [command.split()[1] for command in commands] == ["pretrain", "finetune", "evaluate", "probe", "report"]
    assert commands[2].endswith("--split test --views 3 --crops 3")
    assert commands[3].endswith("--split test --seed 4")
    first.rename(tmp_path / "gone")
    assert all_commands(RunFiles.read(folder), None)[0].startswith("# the pretraining run")


def test_every_logged_quantity_has_one_chart_and_validation_lies_over_training():
    series = Series((10, 20), (1.0, 2.0))
    names = ("mep_audio_joint", "loss", "cpp_accuracy", "visual_spread", "learning_rate", "input_wait_share")
    names += ("visual_rank", "logit_std", "tokens_gradient_norm")
    groups = {group.title: group for group in grouped_curves(dict.fromkeys([*names, "validation_loss"], series))}
    found = {title: [(run.name, list(run.terms)) for run in group.runs] for title, group in groups.items()}
    assert found == {
        "Loss terms": [("training", ["loss", "mep_audio_joint"]), ("validation", ["loss"])],
        "Accuracies": [("training", ["cpp_accuracy"])],
        "Spread of the tokens": [("training", ["visual_spread"])],
        "Effective rank of the tokens": [("training", ["visual_rank"])],
        "Spread of the logits": [("training", ["logit_std"])],
        "Optimizer": [("training", ["learning_rate", "tokens_gradient_norm"])],
        "Machine": [("training", ["input_wait_share"])],
    }


def test_reliability_columns_are_as_high_as_the_share_that_is_right():
    bins = [
        {"low": 0.0, "high": 0.5, "clips": 0, "confidence": None, "accuracy": None},
        {"low": 0.5, "high": 0.75, "clips": 4, "confidence": 0.6, "accuracy": 0.5},
        {"low": 0.75, "high": 1.0, "clips": 4, "confidence": 0.9, "accuracy": 1.0},
    ]
    page = Page(drawn(reliability_diagram(bins, "description")))
    half, whole = (float(column["height"]) for column in page.all("rect"))
    assert half == pytest.approx(whole / 2, abs=0.1)
    (diagonal,) = (line for line in page.all("line") if line.get("class") == "diagonal")
    assert float(diagonal["y1"]) - float(diagonal["y2"]) == pytest.approx(whole, abs=0.1)
    second, third = page.all("rect")
    assert float(third["x"]) - float(second["x"]) == pytest.approx(float(second["width"]) + 1, abs=0.2)

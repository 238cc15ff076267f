"""The whole way on a small corpus of real media files, through the commands that a user types."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tensorflow as tf

from beam_jobs import preprocess
from pemt_tf import cli
from pemt_tf.demo.corpus import make_corpus
from pemt_tf.export.local_predictor import LocalPredictor

DIGITS = {"zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"}
pytestmark = pytest.mark.slow


def pemt(capsys, *arguments) -> tuple[int, str, str]:
    code = cli.main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Corpus, records, two training steps of either kind, and the exported models."""
    folder = tmp_path_factory.mktemp("way")
    make_corpus(folder / "corpus", labelled_per_class=1, unlabelled=6, test_per_class=1)
    arguments = ["--input", folder / "corpus", "--output", folder / "records", "--preset", "tiny"]
    assert preprocess.main([str(argument) for argument in arguments]) == 0
    short = ("--set", "pretrain.steps=2", "--set", "pretrain.batch_size=4", "--set", "finetune.steps=2")
    for command in (
        ("pretrain", "--data", folder / "records", "--output", folder / "pretrained", *short),
        ("finetune", "--data", folder / "records", "--init", folder / "pretrained", "--output", folder / "finetuned"),
        ("evaluate", "--model", folder / "finetuned", "--data", folder / "records"),
        ("export", "--model", folder / "finetuned", "--output", folder / "servable"),
        ("export", "--model", folder / "finetuned", "--output", folder / "servable"),
        ("export", "--model", folder / "pretrained", "--output", folder / "backbone"),
    ):
        assert cli.main([str(argument) for argument in command]) == 0, command
    return folder


def a_test_file(folder):
    return sorted((folder / "corpus" / "test" / "seven").iterdir())[0]


def test_every_file_is_accounted_for(folder):
    card = json.loads((folder / "records" / "dataset_card.json").read_text())
    assert card["inputs"] == 10 + 6 + 2 + 10  # one labelled and one test file per digit; a broken and a soundless one
    assert card["written"] == 27
    assert card["failed"] == {"open_failed": 1}
    assert set(card["labels"]) == DIGITS
    assert card["splits"]["train"]["with_audio"] == card["splits"]["train"]["with_video"] - 1


def test_runs_have_metrics_of_every_objective(folder):
    rows = [json.loads(line) for line in (folder / "pretrained" / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["step"] == 2
    terms = {"mep_visual_context", "mep_audio_context", "mep_visual_joint", "mep_audio_joint", "cpp"}
    assert terms <= rows[-1].keys()
    assert rows[-1]["loss"] == pytest.approx(sum(rows[-1][term] for term in terms), rel=1e-5)


def test_evaluation_counts_every_test_clip_once(folder):
    result = json.loads((folder / "finetuned" / "evaluation-test.json").read_text())
    assert result["clips"] == 10
    assert np.sum(result["confusion"], axis=1).tolist() == [1] * 10
    assert result["chance"] == pytest.approx(0.1)
    assert result["accuracy"] * 10 == np.trace(result["confusion"])
    low, high = result["interval"]
    assert low <= result["accuracy"] <= high


def test_predict_gives_three_labels_with_probabilities(folder, capsys):
    video = a_test_file(folder)
    code, out, _ = pemt(capsys, "predict", video, "--model", folder / "servable", "--json")
    assert code == 0
    answer = json.loads(out)
    assert answer["path"] == str(video)
    probabilities = [row["probability"] for row in answer["predictions"]]
    assert len(probabilities) == 3
    assert probabilities == sorted(probabilities, reverse=True)
    assert {row["label"] for row in answer["predictions"]} <= DIGITS


def test_video_file_and_its_record_get_the_same_answer(folder):
    """No skew: what predict decodes on its own is what the job wrote."""
    predictor = LocalPredictor(folder / "servable")
    assert predictor.directory.name == "2"
    video = a_test_file(folder)
    files = sorted(str(file) for file in (folder / "records" / "test").iterdir())
    (record,) = (
        raw
        for raw in tf.data.TFRecordDataset(files).as_numpy_iterator()
        if tf.train.Example.FromString(raw)
        .features.feature["clip/id"]
        .bytes_list.value[0]
        .endswith(video.name.encode())
    )
    stored, fresh = predictor.answer([record]), predictor.answer([predictor.record_of(str(video))])
    assert fresh.pop("labels").tolist() == stored.pop("labels").tolist()
    for name, value in stored.items():
        np.testing.assert_allclose(fresh[name], value, atol=1e-6)
    assert stored["probabilities"].sum() == pytest.approx(1, abs=1e-5)


def test_search_finds_the_file_itself_first(folder, capsys):
    video = a_test_file(folder)
    arguments = ("--data", folder / "records", "--like", video, "--split", "test", "-k", "3")
    for model in ("servable", "backbone"):
        code, out, _ = pemt(capsys, "search", "--model", folder / model, *arguments)
        assert code == 0
        lines = out.splitlines()
        assert len(lines) == 3
        similarity, label, path, *_ = lines[0].split()
        assert (float(similarity), label) == (1.0, "seven")
        assert path.endswith(video.name)


def test_predict_goes_on_after_a_broken_file_but_fails(folder, capsys):
    broken = folder / "corpus" / "train" / "unlabelled" / "broken.mp4"
    code, out, err = pemt(capsys, "predict", broken, a_test_file(folder), "--model", folder / "servable")
    assert code == 2
    assert out.count("\n") == 1
    assert "open_failed" in err and "1 of 2 files" in err
    assert "Traceback" not in err


def test_backbone_cannot_classify(folder, capsys):
    code, _, err = pemt(capsys, "predict", a_test_file(folder), "--model", folder / "backbone")
    assert code == 2
    assert "no classifier" in err


def test_finished_run_is_not_repeated(folder, capsys):
    before = (folder / "pretrained" / "backbone.weights.h5").stat().st_mtime_ns
    short = ("--set", "pretrain.steps=2", "--set", "pretrain.batch_size=4", "--set", "finetune.steps=2")
    code, _, _ = pemt(capsys, "pretrain", "--data", folder / "records", "--output", folder / "pretrained", *short)
    assert code == 0
    assert (folder / "pretrained" / "backbone.weights.h5").stat().st_mtime_ns == before


def test_other_geometry_is_refused_with_both_values(folder, capsys, tmp_path):
    code, _, err = pemt(
        capsys, "finetune", "--data", folder / "records", "--preset", "avbert_base", "--output", tmp_path / "run"
    )
    assert code == 2
    assert "segments: 10 here, 4 there" in err
    assert err.count("\n") == 1
    assert not (tmp_path / "run").exists()

"""What the report makes of held-out clips with a trained model: attention and neighbours."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from pemt_tf import cli
from pemt_tf.models.av_transformer import AVTransformer
from pemt_tf.report import run_report
from pemt_tf.report.attention import joint_attention, segment_attention
from pemt_tf.report.held_out_clips import look_at_clips
from pemt_tf.training.run_directory import RunDirectory
from tests.report.fake_run import write_run
from tests.report.test_report_page import Page
from tests.report.test_run_report import held_out_clips


def backbone_of(config, **changes):
    # Larger weights than at the start of training: attention that is not all but uniform.
    model = AVTransformer(dataclasses.replace(config.model, initializer_std=0.5, **changes))
    model.build()
    return model


def random_tokens(config, modalities=("visual", "audio")):
    generator = np.random.default_rng(5)
    shape = (2, config.geometry.segments, config.model.hidden)
    return {modality: tf.constant(generator.normal(size=shape), tf.float32) for modality in modalities}


@pytest.mark.parametrize("changes", [{}, {"fusion": "early"}, {"fusion": "late", "sharing": "none", "layers": 1}])
def test_attention_comes_from_the_computation_that_the_model_does(small_config, changes):
    backbone, tokens = backbone_of(small_config, **changes), random_tokens(small_config)
    masks = {modality: tf.constant([[1.0, 1.0, 1.0], [1.0, 0.0, 1.0]]) for modality in tokens}
    attention, outputs = segment_attention(backbone, tokens, masks)
    own = backbone.contextualize(tokens, masks, training=False)
    for name, value in outputs.items():
        np.testing.assert_allclose(value, own[name], atol=1e-5, err_msg=name)
    looks = [(a.transformer, a.summary, a.attended) for a in attention]
    streams = [] if changes.get("fusion") == "early" else [(m, m, m) for m in ("visual", "audio")]
    pairs = [("joint", a, b) for a in ("visual", "audio") for b in ("visual", "audio")]
    assert looks == streams + ([] if changes.get("fusion") == "late" else pairs)
    totals = {}
    for a in attention:
        assert a.segments.shape == (2, 3) and a.summaries.shape == (2,)
        assert np.all(a.segments[1, 1] < 1e-6) and np.all(a.segments[0] > 0)  # a hidden segment is not looked at
        totals[a.transformer, a.summary] = totals.get((a.transformer, a.summary), 0) + a.segments.sum(1) + a.summaries
    for total in totals.values():
        np.testing.assert_allclose(total, 1.0, atol=1e-5)


def test_a_model_of_one_stream_has_the_attention_of_one(small_config):
    backbone, tokens = backbone_of(small_config, modalities=("audio",)), random_tokens(small_config, ("audio",))
    attention, _ = segment_attention(backbone, tokens, {"audio": tf.ones([2, 3])})
    assert [(a.transformer, a.summary, a.attended) for a in attention] == [("audio", "audio", "audio")]


def test_joint_attention_is_split_by_stream():
    weights = np.arange(36, dtype=np.float32).reshape(1, 6, 6)  # summaries are rows and columns 0 and 3
    found = {(a.summary, a.attended): (a.summaries.tolist(), a.segments.tolist()) for a in joint_attention(weights)}
    assert found == {
        ("visual", "visual"): ([0.0], [[1.0, 2.0]]),
        ("visual", "audio"): ([3.0], [[4.0, 5.0]]),
        ("audio", "visual"): ([18.0], [[19.0, 20.0]]),
        ("audio", "audio"): ([21.0], [[22.0, 23.0]]),
    }


@pytest.mark.slow
def test_neighbours_are_the_nearest_training_clips(small_config, clip_source, capsys):
    found = look_at_clips(backbone_of(small_config), clip_source, 9, 10)
    capsys.readouterr()  # the progress line
    assert (found.split, found.searched_split, found.searched) == ("test", "train", 10)
    assert len(found.neighbours) == len(found.attended) == 9
    for item in found.neighbours:
        similarities = [similarity for _, similarity in item.hits]
        assert len(similarities) == 5 and similarities == sorted(similarities, reverse=True)
        assert item.query.clip_id not in {view.clip_id for view, _ in item.hits}
    by_streams = {bool(a.clip.frames) + 2 * (a.clip.log_mel is not None): len(a.attention) for a in found.attended}
    assert by_streams == {0: 0, 1: 2, 2: 2, 3: 6}  # neither, pictures only, sound only, both


def test_the_command_writes_page_and_card(small_config, dataset_directory, clip_view, tmp_path, capsys, monkeypatch):
    run = RunDirectory(write_run(tmp_path / "run", small_config, ("label0", "label1")))
    asked = []
    monkeypatch.setattr(RunDirectory, "load_backbone", lambda run: run.path)
    monkeypatch.setattr(run_report, "look_at_clips", lambda *given: (asked.append(given), held_out_clips(clip_view))[1])
    arguments = ["report", str(run.path), "--data", str(dataset_directory), "--output", str(tmp_path / "o")]
    assert cli.main([*arguments, "--clips", "2", "--search", "6"]) == 0
    assert capsys.readouterr().out.splitlines() == [str(tmp_path / "o/report.html"), str(tmp_path / "o/MODEL_CARD.md")]
    ((backbone, source, clips, searched),) = asked
    assert (backbone, source.name, clips, searched) == (run.path, str(dataset_directory), 2, 6)
    page = Page((tmp_path / "o/report.html").read_text(encoding="utf-8"))
    sections = [attributes["id"] for attributes in page.all("section")]
    assert {"neighbours", "attention", "curves", "about", "parameters"} <= set(sections)
    assert "loss 1 · 1.25" in page.text
    card = (tmp_path / "o/MODEL_CARD.md").read_text(encoding="utf-8")
    assert "Clips: 12, of them labelled 11, with frames 10, with audio 10" in card
    assert not list((tmp_path / "o").glob("*.partial"))


def test_bad_input_is_one_line(tmp_path, capsys):
    assert cli.main(["report", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith(f"error: {tmp_path} is not a training run")
    assert cli.main(["report", str(tmp_path), "--clips", "0"]) == 2
    assert "--clips 0" in capsys.readouterr().err

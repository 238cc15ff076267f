"""Fine-tuning on clips of several labels: its loss, what it refuses, what it starts from."""

import json
import shutil

import numpy as np
import pytest

from pemt_tf.errors import PemtError
from pemt_tf.training import loop
from pemt_tf.training.classification_losses import classification_losses
from pemt_tf.training.finetune import finetune
from pemt_tf.training.mixup import mixed_losses


def binary_cross_entropy(logits: np.ndarray, targets: np.ndarray) -> float:
    """-t log p - (1 - t) log (1 - p) with p = 1 / (1 + exp(-x)), the mean over clips, segments and labels."""
    probability = 1 / (1 + np.exp(-logits.astype(np.float64)))
    targets = targets[:, None]
    return float(-np.mean(targets * np.log(probability) + (1 - targets) * np.log(1 - probability)))


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_is_the_binary_cross_entropy(smoothing):
    rng = np.random.default_rng(0)
    logits = {name: rng.normal(size=(4, 3, 5)).astype(np.float32) for name in ("clip", "sequence")}
    targets = (rng.random((4, 5)) < 0.4).astype(np.float32)
    terms = classification_losses({"logits": logits}, targets, smoothing)
    smoothed = targets * (1 - smoothing) + smoothing / 2
    for name, values in logits.items():
        assert float(terms[f"{name}_loss"]) == pytest.approx(binary_cross_entropy(values, smoothed), abs=1e-5)
    assert set(terms) == {"loss", "clip_loss", "sequence_loss"}


def test_mixed_clips_have_the_mixture_of_their_labels():
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(3, 2, 4)).astype(np.float32)
    targets, weight = (rng.random((3, 4)) < 0.5).astype(np.float32), np.array([0.5, 0.9, 0.7], np.float32)
    mixture = weight[:, None] * targets + (1 - weight[:, None]) * targets[[2, 0, 1]]
    terms = mixed_losses({"logits": {"clip": logits}}, targets, weight)
    assert float(terms["loss"]) == pytest.approx(binary_cross_entropy(logits, mixture), abs=1e-5)
    assert "accuracy" not in terms


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("loss=multi_margin", "finetune.loss is 'multi_margin'; allowed: cross_entropy with finetune.labels multiple"),
        ("labels=several", "finetune.labels is 'several'; allowed: single, multiple"),
        ("sampling=labels", "finetune.sampling is 'labels'; allowed: clips, classes"),
    ],
)
def test_what_cannot_be_configured(small_config, change, message):
    with pytest.raises(PemtError, match=message):
        small_config.with_overrides(["finetune.labels=multiple", f"finetune.{change}"])


def test_a_run_of_single_labels_is_another_run_but_a_start(
    monkeypatch, small_config, several_source, finetuning_run, tmp_path
):
    tasks = []
    config = small_config.with_overrides(["finetune.labels=multiple"])
    with pytest.raises(PemtError, match=r"holds another run \(.*finetune.labels: single there, multiple asked"):
        finetune(config, several_source, shutil.copytree(finetuning_run.path, tmp_path / "single"))
    monkeypatch.setattr(loop, "train", lambda task, run, strategy: tasks.append(task))
    finetune(config, several_source, tmp_path / "run", initial=finetuning_run)
    assert json.loads((tmp_path / "run/run.json").read_text())["initial"] == str(finetuning_run.path)
    mine, theirs = tasks[0].model.backbone.get_weights(), finetuning_run.load_backbone().get_weights()
    assert all((a == b).all() for a, b in zip(mine, theirs, strict=True))
    batch = next(iter(tasks[0].clips(0)))
    assert batch["targets"].shape == (4, 3) and (batch["targets"].numpy().sum(axis=1) >= 1).all()


def test_the_first_label_alone_counts_where_one_is_asked_for_and_a_note_says_so(
    monkeypatch, capsys, small_config, several_source, tmp_path
):
    monkeypatch.setattr(loop, "train", lambda *_: None)
    finetune(small_config, several_source, tmp_path / "run")
    unused = several_source.given_labels["train"] - several_source.labelled["train"]
    assert unused > 10
    note = f"note: clips of split 'train' have {unused} labels besides their first one, which are not learned"
    assert note in capsys.readouterr().err

"""Fine-tuning runs: what they start from, what they train on, and their loss."""

import json

import numpy as np
import pytest
from google.protobuf import text_format
from tensorboard.plugins.projector import projector_config_pb2

from pemt_tf.data.clip_source import ClipSource
from pemt_tf.errors import PemtError
from pemt_tf.training import loop
from pemt_tf.training.classification_losses import classification_losses
from pemt_tf.training.finetune import finetune
from pemt_tf.training.run_directory import RunDirectory
from tests.fake_dataset import WITHOUT_LABEL, fake_clips, replace_card, write_dataset


@pytest.fixture
def captured(monkeypatch):
    """Fine-tuning up to the first step: what would be trained."""
    tasks = []
    monkeypatch.setattr(loop, "train", lambda task, run, strategy: tasks.append(task))
    return tasks


def test_classification_losses_equal_the_formula():
    rng = np.random.default_rng(0)
    logits = {name: rng.normal(size=(4, 3, 5)).astype(np.float32) for name in ("clip", "sequence")}
    probabilities = rng.dirichlet(np.ones(5), 4).astype(np.float32)
    labels = np.array([1, 0, 4, probabilities[3].argmax()])
    terms = classification_losses({"logits": logits, "probabilities": probabilities}, labels)
    expected = {}
    for name, values in logits.items():
        log_softmax = values - np.log(np.exp(values.astype(np.float64)).sum(-1, keepdims=True))
        expected[name] = -np.mean([log_softmax[b, s, labels[b]] for b in range(4) for s in range(3)])
        assert float(terms[f"{name}_loss"]) == pytest.approx(expected[name], abs=1e-5)
    assert float(terms["loss"]) == pytest.approx(sum(expected.values()), abs=1e-5)
    assert float(terms["accuracy"]) == np.mean(probabilities.argmax(-1) == labels)


def test_multi_margin_equals_the_formula():
    """docs/reference_model.md section 13: 1/C sum over j != y of max(0, 0.1 - x_y + x_j)."""
    logits = np.random.default_rng(0).normal(scale=0.2, size=(3, 2, 4)).astype(np.float32)
    labels = np.array([1, 0, 3])
    outputs = {"logits": {"clip": logits}, "probabilities": np.eye(4, dtype=np.float32)[labels]}
    values = [
        sum(max(0.0, 0.1 - x[label] + x[j]) for j in range(4) if j != label) / 4
        for segments, label in zip(logits.astype(float), labels, strict=True)
        for x in segments
    ]
    terms = classification_losses(outputs, labels, loss="multi_margin")
    assert float(terms["loss"]) == pytest.approx(np.mean(values), abs=1e-6)
    assert float(terms["accuracy"]) == 1.0


def test_rate_0_freezes_the_backbone_with_its_statistics_and_dropout(captured, small_config, clip_source, tmp_path):
    """The authors' linear evaluation: only heads are trained, and a step of training leaves all else alone."""
    finetune(small_config.with_overrides(["finetune.finetune_learning_rate=0"]), clip_source, tmp_path / "run")
    model = captured[0].model
    assert {v.path.split("/")[1] for v in model.trainable_variables} == {"clip_head", "sequence_head"}
    before = model.backbone.get_weights()
    captured[0].losses(next(iter(captured[0].clips(0))))
    for mine, theirs in zip(model.backbone.get_weights(), before, strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            ["finetune.select=best_validation"],
            "has no split 'validation' to select weights on; put some clips into one",
        ),
        (["finetune.precision=mixed_float16"], "mixed_float16 needs a GPU: TensorFlow cannot pool float16 on a CPU"),
    ],
)
def test_what_cannot_be_done_here_is_refused_before_anything_is_written(
    small_config, clip_source, tmp_path, changes, message
):
    with pytest.raises(PemtError, match=message):
        finetune(small_config.with_overrides(changes), clip_source, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_split_that_is_trained_on_does_not_select(small_config, clip_source, tmp_path):
    config = small_config.with_overrides(["finetune.select=best_validation", "finetune.validation_split=held"])
    with pytest.raises(PemtError, match="cannot be selected on the split 'held', which they are trained on"):
        finetune(config, clip_source, tmp_path / "run", split="held")


@pytest.mark.parametrize("name", ["validation", "held"])
def test_a_validation_split_is_measured_whenever_there_is_one(captured, small_config, tmp_path, name):
    """Without being asked to; the weights are still those of the last step."""
    geometry = small_config.geometry
    splits = {"train": fake_clips(geometry, 4), name: fake_clips(geometry, 5, first_seed=50)}
    source = ClipSource.open(write_dataset(tmp_path / "data", geometry, splits))
    config = small_config.with_overrides(["finetune.validate_every=3", f"finetune.validation_split={name}"])
    finetune(config, source, tmp_path / "run")
    task = captured[0]
    assert task.best is None and task.validate_every == 3
    assert json.loads((tmp_path / "run/run.json").read_text())["selection"] == "last step"
    if name == "validation":  # one of them is enough to see that it counts
        scores = task.score(3)
        assert set(scores) == {f"validation_{part}" for part in ("loss", "clip_loss", "sequence_loss", "accuracy")}
        assert scores["validation_accuracy"] * 5 == pytest.approx(round(scores["validation_accuracy"] * 5), abs=1e-4)


def test_nothing_is_measured_without_labelled_clips_besides_those_of_training(captured, small_config, tmp_path):
    geometry = small_config.geometry
    splits = {"train": fake_clips(geometry, 4), "validation": fake_clips(geometry, 9, first_seed=50)[WITHOUT_LABEL:]}
    source = ClipSource.open(write_dataset(tmp_path / "data", geometry, splits))
    finetune(small_config, source, tmp_path / "run")
    finetune(small_config.with_overrides(["finetune.validation_split=absent"]), source, tmp_path / "absent")
    assert [task.validate for task in captured] == [None, None]


def test_starts_from_the_pretrained_backbone(captured, small_config, clip_source, pretraining_run, tmp_path):
    finetune(small_config, clip_source, tmp_path / "run", initial=pretraining_run)
    weights = captured[0].model.backbone.get_weights()
    for mine, theirs in zip(weights, pretraining_run.load_backbone().get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert json.loads((tmp_path / "run/run.json").read_text())["initial"] == str(pretraining_run.path)


def test_without_one_it_starts_from_random_weights_that_follow_the_seed(captured, small_config, clip_source, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        finetune(small_config.with_overrides([f"finetune.seed={seed}"]), clip_source, tmp_path / name)
    first, again, other = (task.model.get_weights() for task in captured)
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert any((a != b).any() for a, b in zip(first, other, strict=True))


def test_trains_on_labelled_clips_only_streams_may_be_missing(captured, small_config, clip_source, tmp_path):
    finetune(small_config, clip_source, tmp_path / "run")
    batches = list(captured[0].clips(0).take(11))
    assert {i for batch in batches for i in batch["id"].numpy()} == {b"fake-%06d" % i for i in range(12) if i != 8}
    assert all((batch["label"].numpy() >= 0).all() for batch in batches)


def test_heads_and_backbone_have_their_own_rates(captured, small_config, clip_source, tmp_path):
    """Heads at the base rate 3e-3, the backbone at 1e-3: a third of it; batch norms are not decayed."""
    finetune(small_config, clip_source, tmp_path / "run")
    optimizer = captured[0].optimizer
    paths = [variable.path for variable in captured[0].model.trainable_variables]
    for path, scale, decay in zip(paths, optimizer._scales, optimizer._decays, strict=True):
        assert scale == pytest.approx(1.0 if "head/" in path else 1 / 3), path
        norm = "_cnn/" in path and path.endswith(("/gamma", "/beta"))
        assert decay == (0.0 if norm else 5e-6), path


def test_optimizer_is_the_references(captured, small_config, clip_source, tmp_path):
    finetune(small_config, clip_source, tmp_path / "run")
    optimizer = captured[0].optimizer
    assert (optimizer.beta_1, optimizer.beta_2, optimizer.epsilon) == (0.9, 0.999, 1e-6)
    assert not optimizer.decoupled and not optimizer.amsgrad


def test_finished_run(finetuning_run):
    names = {path.name for path in finetuning_run.path.iterdir()}
    assert {"classifier.weights.h5", "backbone.weights.h5"} <= names
    rows = finetuning_run.metrics()
    assert [row["step"] for row in rows] == [2, 4]
    for row in rows:
        assert row["loss"] == pytest.approx(row["clip_loss"] + row["sequence_loss"], rel=1e-6)


def test_the_projector_shows_training_clips_where_there_is_no_validation_split(finetuning_run):
    """One embedding a row; clip 7 has neither stream, clip 8 no label."""
    config = text_format.Parse(
        (finetuning_run.tensorboard / "projector_config.pbtxt").read_text(), projector_config_pb2.ProjectorConfig()
    )
    (shown,) = config.embeddings
    vectors = np.loadtxt(finetuning_run.tensorboard / shown.tensor_path, delimiter="\t")
    rows = [line.split("\t") for line in (finetuning_run.tensorboard / shown.metadata_path).read_text().splitlines()]
    assert rows[0] == ["id", "label", "split"] and vectors.shape == (11, 16)
    labels = {f"fake-{i:06d}": "-" if i == 8 else f"label{i % 3}" for i in range(12) if i != 7}
    assert {row[0]: row[1] for row in rows[1:]} == labels and {row[2] for row in rows[1:]} == {"train"}
    assert np.std(vectors, axis=0).max() > 0


def test_the_weights_did_move(finetuning_run, pretraining_run):
    """By at most what four steps of Adam can move them: each less than about three times its rate."""
    before = pretraining_run.load_backbone().trainable_variables
    after = finetuning_run.load_backbone().trainable_variables
    moves = [np.abs(a.numpy() - b.numpy()).max() for a, b in zip(after, before, strict=True)]
    assert np.mean([move > 0 for move in moves]) > 0.9
    assert max(moves) < 4 * 3 * 1e-3


def test_a_label_without_training_clip_is_refused(small_config, tmp_path):
    directory = write_dataset(tmp_path / "data", small_config.geometry, {"train": fake_clips(small_config.geometry, 4)})
    replace_card(directory, labels=["label0", "label1", "label2", "zebra"])
    with pytest.raises(PemtError, match="label 'zebra' has no clip in the training split"):
        finetune(small_config, ClipSource.open(directory), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_unfinished_or_other_pretraining_run_is_refused(small_config, clip_source, pretraining_run, tmp_path):
    other = small_config.with_overrides(["model.layers=3"])
    with pytest.raises(PemtError, match=r"was trained with another model \(layers: 2 there, 3 here\)"):
        finetune(other, clip_source, tmp_path / "run", initial=pretraining_run)
    with pytest.raises(PemtError, match=r"is not a training run"):
        finetune(small_config, clip_source, tmp_path / "run", initial=RunDirectory(tmp_path / "nowhere"))
    assert not (tmp_path / "run").exists()

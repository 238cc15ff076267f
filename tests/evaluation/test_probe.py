"""The probe as a whole: what is read, what is chosen by which clips, and what a real run gives."""

import dataclasses
import json

import numpy as np
import pytest

from pemt_tf.data.clip_source import ClipSource
from pemt_tf.data.input_pipeline import evaluation_clips, model_inputs
from pemt_tf.errors import PemtError
from pemt_tf.evaluation.feature_extraction import ClipFeatures, FeatureExtractor
from pemt_tf.evaluation.pair_scores import read_pair_classifier
from pemt_tf.evaluation.probe import ProbePlan, measure_methods, probe, probe_modality, require_apart
from pemt_tf.training.run_directory import PAIR_CLASSIFIERS
from tests.fake_dataset import WITHOUT_AUDIO, WITHOUT_BOTH, WITHOUT_LABEL, WITHOUT_VIDEO, fake_clips, write_dataset

CLASSES = 3


def features(seed, clips, noise=1.0, without=()):
    """Both streams show the label, and numbers of the clip, through mixtures of their own; `without` sound."""
    mixing = np.random.default_rng(99)
    mixtures = {name: mixing.normal(size=(CLASSES + 4, 12)) for name in ("visual", "audio")}
    rng = np.random.default_rng(seed)
    labels = np.arange(clips) % CLASSES
    content = np.concatenate([2 * np.eye(CLASSES)[labels], rng.normal(size=(clips, 4))], axis=1)
    pooled = {name: content @ mixture + noise * rng.normal(size=(clips, 12)) for name, mixture in mixtures.items()}
    there = np.ones(clips, bool)
    there[list(without)] = False
    summaries = {**{name: values[:, :5] for name, values in pooled.items()}, "joint": pooled["visual"][:, :6]}
    names = np.array([f"{seed}-{n:04}" for n in range(clips)])
    return ClipFeatures(names, names, labels, pooled, summaries, {"visual": np.ones(clips, bool), "audio": there})


def with_labels(found, labels):
    return dataclasses.replace(found, labels=labels)


@pytest.mark.parametrize("stream", ["visual", "audio", "joint"])
def test_test_labels_are_read_for_the_score_only(stream):
    """Other labels of the same test clips: the same choices; the accuracy is that of guessing."""
    train, test = features(0, 60), features(1, 90)
    plan = ProbePlan()
    right = probe_modality(stream, train, test, None, plan, CLASSES)
    wrong = probe_modality(stream, train, with_labels(test, (test.labels + 1) % CLASSES), None, plan, CLASSES)
    assert right["linear"]["accuracy"] > 0.8 > 0.2 > wrong["linear"]["accuracy"]
    for name, key in (("linear", "regularization"), ("knn", "k")):
        assert right[name][key] == wrong[name][key]
        assert right[name]["chosen_on"] == "5-fold cross-validation of the training clips, grouped by source file"


def test_clips_without_the_stream_or_a_label_are_left_out():
    train, test = features(0, 60, without=range(10)), features(1, 30, without=[3, 4])
    train = with_labels(train, np.where(np.arange(60) == 40, -1, train.labels))
    counts = {s: probe_modality(s, train, test, None, ProbePlan(), CLASSES) for s in train.streams}
    assert {s: (found["train_clips"], found["clips"]) for s, found in counts.items()} == {
        "visual": (59, 30),
        "audio": (49, 28),
        "joint": (49, 28),
    }


def test_few_labels():
    """Validation labels would be more than the counted ones: folds choose, or nothing where a label has one clip."""
    train, test = features(0, 90), features(1, 60)
    for per_class, chosen_on in ((1, "nothing: "), (3, "3-fold "), (20, "5-fold ")):
        found = probe_modality("audio", train, test, None, ProbePlan(labels_per_class=per_class), CLASSES)
        assert found["train_clips"] == 3 * per_class
        assert found["linear"]["chosen_on"].startswith(chosen_on)


def test_validation_clips_choose_where_there_are_some():
    train, test, validation = features(0, 60), features(1, 60), features(2, 30)
    found = probe_modality("audio", train, test, validation, ProbePlan(), CLASSES)
    assert found["linear"]["chosen_on"] == found["knn"]["chosen_on"] == "validation split"
    none = with_labels(validation, np.full(30, -1))
    assert "5-fold" in probe_modality("audio", train, test, none, ProbePlan(), CLASSES)["linear"]["chosen_on"]


def test_nothing_to_learn_or_to_measure():
    train, test = features(0, 30), features(1, 30)
    assert probe_modality("audio", with_labels(train, np.zeros(30, int)), test, None, ProbePlan(), CLASSES) is None
    assert probe_modality("audio", train, with_labels(test, np.full(30, -1)), None, ProbePlan(), CLASSES) is None


def test_the_map_between_streams_needs_no_labels():
    """It finds clips by what the streams share beyond the label."""
    train, test = features(0, 300, noise=0.3), features(1, 100, noise=0.3, without=[0, 1])
    plan = ProbePlan()
    methods = measure_methods(with_labels(train, np.full(300, -1)), test, plan, None)
    assert list(methods) == ["cosine", "linear_map"]
    fitted = methods["linear_map"]
    assert fitted["audio_to_video"]["clips"] == 98 and fitted["pairs"] == 300
    assert "unlabelled training pairs" in fitted["of"]
    for direction in ("audio_to_video", "video_to_audio"):
        assert fitted[direction]["recall_at_1"] > 0.5
    order = np.random.default_rng(0).permutation(100)
    few, again = (measure_methods(train, t, ProbePlan(gallery=20), None) for t in (test, test.take(order)))
    assert few["cosine"]["audio_to_video"]["clips"] == 20 and few == again


def test_retrieval_in_the_aligned_space():
    """Clip n has its frames at 10 n degrees and its audio at 10 n + 6, where the frames of the next clip are nearer."""
    train, test = features(0, 30), features(1, 12, without=[5])
    angles = {"visual": np.radians(10.0 * np.arange(12)), "audio": np.radians(10.0 * np.arange(12) + 6)}
    aligned = {m: np.stack([np.cos(a), np.sin(a)], axis=1) for m, a in angles.items()}
    methods = measure_methods(train, dataclasses.replace(test, aligned=aligned), ProbePlan(), None)
    assert list(methods) == ["cosine", "aligned_cosine", "linear_map"]
    found = methods["aligned_cosine"]
    assert found["of"] == "the aligned space of pretraining"
    # The last clip has no next one, nor has clip 4, whose next one lacks audio; clip 6 has none before it.
    assert found["audio_to_video"] == {
        "recall_at_1": pytest.approx(2 / 11),
        "recall_at_5": 1.0,
        "recall_at_10": 1.0,
        "median_rank": 2.0,
        "clips": 11,
    }
    assert found["video_to_audio"]["recall_at_1"] == pytest.approx(2 / 11)  # clip 0 and clip 6
    assert "aligned_cosine" not in measure_methods(train, test, ProbePlan(), None)


def test_too_few_pairs():
    train, test = features(0, 30, without=range(25)), features(1, 30)
    assert list(measure_methods(train, test, ProbePlan(), None)) == ["cosine"]
    assert measure_methods(train, features(1, 30, without=range(29)), ProbePlan(), None) == {}


def test_splits_that_share_a_file():
    train = features(0, 30)
    test = dataclasses.replace(features(1, 30), paths=np.concatenate([train.paths[:2], features(1, 28).paths]))
    with pytest.raises(PemtError, match=r"^2 source files stand in both 'train' and 'test', 0-0000 for one"):
        require_apart(train, test, ProbePlan())
    with pytest.raises(PemtError, match="--train-split and --split are both 'test'"):
        ProbePlan(train_split="test")


# With a network


@pytest.fixture(scope="module")
def backbone(pretraining_run):
    return pretraining_run.load_backbone()


@pytest.fixture(scope="module")
def extractor(backbone, clip_source):
    """In batches of four; the last of the test split is smaller."""
    return FeatureExtractor(backbone, clip_source, batch_size=4)


@pytest.fixture(scope="module")
def extracted(extractor):
    """Of the test split."""
    return extractor.extract("test")


def test_features_equal_those_of_one_clip_at_a_time(backbone, clip_source, extracted):
    assert extracted.streams == ("visual", "audio", "joint") and len(extracted) == 9
    for row, batch in enumerate(evaluation_clips(clip_source, "test", 1)):
        outputs = backbone(model_inputs(batch, ("visual", "audio")), training=False)
        number = int(extracted.ids[row][-1])
        assert extracted.paths[row] == f"fake/00100{number}.mp4"
        assert extracted.labels[row] == (-1 if number == WITHOUT_LABEL else number % 3)
        assert extracted.has("visual")[row] == (number not in (WITHOUT_VIDEO, WITHOUT_BOTH))
        assert extracted.has("audio")[row] == (number not in (WITHOUT_AUDIO, WITHOUT_BOTH))
        assert extracted.has("joint")[row] == (number not in (WITHOUT_VIDEO, WITHOUT_AUDIO, WITHOUT_BOTH))
        expected = {"joint": outputs["embedding"], **{m: outputs[f"{m}_context"][:, 0] for m in ("visual", "audio")}}
        for stream in ("visual", "audio", "joint"):
            if extracted.has(stream)[row]:
                found = extracted.vectors(stream, "embedding")[row]
                np.testing.assert_allclose(found, expected[stream][0], atol=1e-5)
        pooled = {m: outputs[f"{m}_features"].numpy()[0].mean(axis=0) for m in ("visual", "audio")}
        if extracted.has("joint")[row]:
            side_by_side = np.concatenate([pooled["visual"], pooled["audio"]])
            np.testing.assert_allclose(extracted.vectors("joint", "pooled")[row], side_by_side, atol=1e-5)


def test_places_in_the_aligned_space_are_those_of_the_run(aligned_run, clip_source):
    backbone, space = aligned_run.load_backbone(), aligned_run.load_aligned_space()
    found = FeatureExtractor(backbone, clip_source, batch_size=9, space=space).extract("test")
    (batch,) = evaluation_clips(clip_source, "test", 9)
    inputs = model_inputs(batch, ("visual", "audio"))
    outputs = backbone(inputs, training=False)
    for modality in ("visual", "audio"):
        there = found.has(modality)
        segments = outputs[f"{modality}_context"].numpy()[there, 1:]  # these clips have all segments
        projected = segments.mean(1) @ np.asarray(space.projections[modality].kernel)
        expected = projected / np.linalg.norm(projected, axis=1, keepdims=True)
        np.testing.assert_allclose(found.aligned[modality][there], expected, atol=2e-5)
    few = found.take(np.array([2, 0]))
    np.testing.assert_array_equal(few.aligned["audio"], found.aligned["audio"][[2, 0]])


def test_labelled_clips_only(extractor, extracted):
    labelled = extractor.extract("test", labelled=True)
    assert labelled.ids.tolist() == [i for i, label in zip(extracted.ids, extracted.labels, strict=True) if label >= 0]


def test_the_pair_classifier_of_the_run(pretraining_run, small_config, extracted):
    """Saved by the pretraining run with the widths of the model, and asked about every pair."""
    weights = read_pair_classifier(pretraining_run.path / PAIR_CLASSIFIERS)
    hidden = small_config.model.hidden
    assert {name: value.shape for name, value in weights.items()} == {
        "inner/kernel": (2 * hidden, hidden),
        "inner/bias": (hidden,),
        "outer/kernel": (hidden, 1),
        "outer/bias": (1,),
    }
    methods = measure_methods(extracted, extracted, ProbePlan(), weights)
    assert methods["pair_classifier"]["video_to_audio"]["clips"] == 6


def test_probe_of_a_run(backbone, pretraining_run, clip_source, tmp_path):
    result = probe(backbone, clip_source, ProbePlan(batch_size=6), "the run")
    result.write(tmp_path / "probe.json")
    values = json.loads((tmp_path / "probe.json").read_text())
    assert (values["split"], values["train_split"], values["features"]) == ("test", "train", "pooled")
    assert (values["model"], values["data_hash"], values["seed"]) == ("the run", "f" * 64, 0)
    # 12 training clips and 9 of the test, less those without picture, sound or label.
    assert {s: (values[s]["train_clips"], values[s]["clips"]) for s in ("visual", "audio", "joint")} == {
        "visual": (9, 6),
        "audio": (9, 6),
        "joint": (8, 5),
    }
    for stream in ("visual", "audio", "joint"):
        assert set(values[stream]["linear"]) >= {"accuracy", "interval", "regularization", "chosen_on"}
        assert set(values[stream]["knn"]) >= {"accuracy", "interval", "k"}
    assert values["retrieval"]["method"] == "cosine"  # nine pairs are too few for a map
    assert values["retrieval"]["audio_to_video"] == values["retrieval_methods"]["cosine"]["audio_to_video"]
    assert values["retrieval"]["audio_to_video"]["clips"] == 6
    assert 0 <= values["alignment"] <= 4 and set(values["uniformity"]) == set(values["spread"]) == set(result.streams)
    assert len(result.summary) == 5


def test_refusals(backbone, clip_source, tmp_path, small_config):
    with pytest.raises(PemtError, match="has no split 'validation'; it has: train, test"):
        probe(backbone, clip_source, ProbePlan(split="validation"), "run")
    clips = [dataclasses.replace(c, labels=(), label_indices=()) for c in fake_clips(small_config.geometry, 4)]
    splits = {"train": clips[:2], "test": [dataclasses.replace(c, jpegs=None) for c in clips[2:]]}
    empty = ClipSource.open(write_dataset(tmp_path / "data", small_config.geometry, splits))
    with pytest.raises(PemtError, match="nothing to measure; splits 'train' and 'test' need labelled clips"):
        probe(backbone, empty, ProbePlan(), "run")

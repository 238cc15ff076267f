"""Heads against the golden files, and the classifier at the edges."""

import numpy as np
import pytest
from keras import ops

from pemt_tf.config import ModelConfig
from pemt_tf.convert.checkpoint_converter import assign_reference_weights
from pemt_tf.models.heads import AVClassifier, PooledFeatureHead, SequenceHead
from tests.golden import Golden, assert_close
from tests.layer_contract import assert_layer_contract

SMALL = ModelConfig(
    hidden=16,
    heads=2,
    intermediate=24,
    layers=1,
    rank=4,
    max_positions=5,
    visual_depth=18,
    audio_depth=18,
    visual_width=2,
    audio_width=2,
)


def windows(maps: np.ndarray, sides: tuple[int, ...]) -> np.ndarray:
    """Averages of all windows at stride 1, [batch, positions, channels]."""
    axes = tuple(range(1, 1 + len(sides)))
    views = np.lib.stride_tricks.sliding_window_view(maps, sides, axes)
    means = views.mean(tuple(range(-len(sides), 0)), dtype=np.float64).astype(np.float32)
    return means.reshape(len(maps), -1, maps.shape[-1])


@pytest.mark.parametrize("name, sides", [("head_visual_basic", (2, 3, 3)), ("head_audio_basic", (3, 2))])
def test_pooled_feature_head_equals_the_reference(name, sides):
    golden = Golden(name)
    maps = np.moveaxis(golden["in/map"], 1, -1)
    head = PooledFeatureHead(7, ("visual",), dropout=0.5)
    head.build((None, None, 12))
    assign_reference_weights(head, golden.weights)
    # The reference classifies every window of the map; at its own sizes there is one, the whole map.
    votes = ops.mean(ops.softmax(head(windows(maps, sides))), axis=1)
    assert_close(votes, golden["out64/eval_fullmap"])
    exact = maps[(slice(None), *(slice(side) for side in sides))]
    logits = head(exact.mean(tuple(range(1, 1 + len(sides))))[:, None])[:, 0]
    assert_close(logits, golden["out64/train_exact_nodrop"])
    assert_close(ops.softmax(logits), golden["out64/eval_exact"])


def test_multimodal_heads_equal_the_reference():
    golden = Golden("heads_multimodal")
    batch, length, hidden = golden["in/multi"].shape
    segments = length // 2 - 1
    clip_head = PooledFeatureHead(7, ("visual", "audio"))
    clip_head.build((None, None, 48 + 24))
    assign_reference_weights(clip_head, part(golden, "concat_head."))
    sequence_head = SequenceHead(7, hidden)
    sequence_head.build()
    assign_reference_weights(sequence_head, part(golden, "concat_seq_head."))
    pooled = np.concatenate([golden["in/visual_pooled"], golden["in/audio_pooled"]], -1)
    clip = ops.reshape(clip_head(pooled.reshape(batch, segments, -1)), (-1, 7))
    sequence = ops.reshape(sequence_head(golden["in/multi"]), (-1, 7))
    assert_close(clip, golden["out64/clip_train_nodrop"])
    assert_close(sequence, golden["out64/seq_train_nodrop"])
    assert_close(ops.softmax(clip), golden["out64/clip_eval"])
    assert_close(ops.softmax(sequence), golden["out64/seq_eval"])


def part(golden: Golden, prefix: str) -> dict:
    return {name.removeprefix(prefix): array for name, array in golden.weights.items() if name.startswith(prefix)}


def classifier(**changes) -> AVClassifier:
    model = AVClassifier(ModelConfig(**{**vars(SMALL), **changes}), classes=3)
    model.build()
    for variable in model.trainable_variables:  # heads start near 0: without this all answers are alike
        if "head" in variable.path and len(variable.shape) == 2:
            variable.assign(np.random.default_rng(0).normal(size=variable.shape))
    return model


@pytest.fixture(scope="module")
def inputs():
    random = np.random.default_rng(0)
    return {
        "frames": random.normal(size=(2, 2, 4, 32, 32, 3)).astype(np.float32),
        "log_mel": random.normal(size=(2, 2, 16, 32, 1)).astype(np.float32),
    }


def softmax(x: np.ndarray) -> np.ndarray:
    exponential = np.exp(x.astype(np.float64))
    return exponential / exponential.sum(-1, keepdims=True)


def test_probabilities_are_the_mean_vote_of_segments_and_heads(inputs):
    outputs = classifier()(inputs)
    assert set(outputs["logits"]) == {"clip", "sequence"}
    votes = [softmax(np.asarray(logits)).mean(1) for logits in outputs["logits"].values()]
    assert_close(outputs["probabilities"], (votes[0] + votes[1]) / 2)
    np.testing.assert_allclose(np.sum(outputs["probabilities"], -1), 1.0, atol=1e-6)


def test_with_several_labels_scores_are_the_mean_of_sigmoids(inputs):
    model = AVClassifier(SMALL, classes=3, labels="multiple")
    model.build()
    for variable in model.trainable_variables:
        if "head" in variable.path and len(variable.shape) == 2:
            variable.assign(np.random.default_rng(0).normal(size=variable.shape))
    outputs = model(inputs)
    votes = [(1 / (1 + np.exp(-np.asarray(logits, np.float64)))).mean(1) for logits in outputs["logits"].values()]
    assert_close(outputs["scores"], (votes[0] + votes[1]) / 2)
    assert "probabilities" not in outputs and np.abs(np.sum(outputs["scores"], -1) - 1).max() > 0.01
    assert model.fold().labels == AVClassifier.from_config(model.get_config()).labels == "multiple"


@pytest.mark.parametrize("changes", [{}, {"sharing": "none"}, {"modalities": ("audio",)}], ids=str)
def test_a_folded_classifier_answers_the_same(inputs, changes):
    model = classifier(**changes)
    expected, folded = model(inputs), model.fold()(inputs)
    for name in ("probabilities", "embedding"):
        assert_close(folded[name], expected[name])
    for name, logits in expected["logits"].items():
        assert_close(folded["logits"][name], logits)


@pytest.mark.parametrize("given", ["frames", "log_mel"])
def test_one_modality_alone_is_classified_by_its_features(inputs, given):
    outputs = classifier()({given: inputs[given]})
    assert set(outputs["logits"]) == {"clip"}
    assert outputs["probabilities"].shape == (2, 3)
    assert np.isfinite(outputs["probabilities"]).all()


def test_a_masked_stream_equals_an_absent_one_in_the_clip_head(inputs):
    model = classifier()
    absent = model({"frames": inputs["frames"]})["logits"]["clip"]
    masked = model({**inputs, "audio_mask": np.zeros((2, 2), np.float32)})["logits"]["clip"]
    np.testing.assert_allclose(masked, absent, rtol=0, atol=1e-5)


def test_late_fusion_has_the_clip_head_only(inputs):
    model = classifier(fusion="late")
    assert model.sequence_head is None
    assert set(model(inputs)["logits"]) == {"clip"}


def test_a_model_of_one_modality(inputs):
    model = classifier(modalities=("audio",))
    assert model.clip_head.projection.kernel.shape == (16, 3)  # 8 x the width of 2
    assert model({"log_mel": inputs["log_mel"]})["probabilities"].shape == (2, 3)


@pytest.mark.parametrize("kind", ["pooled", "sequence"])
def test_contract(tmp_path, kind):
    if kind == "pooled":
        x, shape = np.random.default_rng(0).normal(size=(2, 3, 10)), (None, None, 10)
    else:
        x, shape = np.random.default_rng(0).normal(size=(2, 8, 6)), None

    def make(**arguments):
        return PooledFeatureHead(4, ("visual",), **arguments) if shape else SequenceHead(4, 6, **arguments)

    assert_layer_contract(make, x.astype(np.float32), tmp_path, build_shape=shape)


def test_classifier_contract(tmp_path, inputs):
    def make(**arguments):
        return AVClassifier(SMALL, 3, **arguments)

    assert_layer_contract(make, inputs, tmp_path, bfloat16_tolerance=0.25)


def test_a_classifier_of_one_stream_passes_the_other_over(small_config):
    """Its answer is that of the clip without pictures, whatever the pictures."""
    heard = AVClassifier(small_config.model, 3, streams=("audio",))
    heard.build()
    generator = np.random.default_rng(0)
    log_mel = generator.normal(size=(2, 3, 16, 16, 1)).astype("float32")
    frames = generator.normal(size=(2, 3, 2, 16, 16, 3)).astype("float32")
    alone = heard({"log_mel": log_mel})
    both = heard({"log_mel": log_mel, "frames": frames, "visual_mask": np.ones((2, 3), "float32")})
    assert set(both["logits"]) == {"clip"}  # there is no joint sequence to judge
    np.testing.assert_array_equal(both["probabilities"], alone["probabilities"])
    everything = AVClassifier(small_config.model, 3)
    everything.build()
    everything.set_weights(heard.get_weights())
    seen = everything({"log_mel": log_mel, "frames": frames})["probabilities"]
    assert not np.allclose(seen, alone["probabilities"])
    assert AVClassifier.from_config(heard.get_config()).streams == ("audio",)

"""The audio-visual Transformer against the golden files of every fusion and sharing, and its behaviour at the edges."""

import dataclasses
import functools

import numpy as np
import pytest
import tensorflow as tf

from pemt_tf.config import ModelConfig
from pemt_tf.convert.checkpoint_converter import assign_reference_weights, reference_slots
from pemt_tf.errors import PemtError
from pemt_tf.layers import orthogonal
from pemt_tf.models.av_transformer import AVTransformer
from tests.golden import Golden, assert_close
from tests.layer_contract import assert_layer_contract

FILES = [
    "avbert_early_decomp_FIXED",
    "avbert_early_plain",
    "avbert_late_noshare_decomp",
    "avbert_late_shared_decomp",
    "avbert_mid_audio_only",
    "avbert_mid_layers_only_plain",
    "avbert_mid_models_only_decomp",
    "avbert_mid_noshare_plain",
    "avbert_mid_shared_decomp",
    "avbert_mid_shared_decomp_meanpool",
    "avbert_mid_visual_only",
]
SHARING = {
    # across layers, across models, decomposed
    (False, False, False): "none",
    (True, False, False): "layers",
    (True, True, False): "layers_and_modalities",
    (True, True, True): "low_rank",
    (False, True, False): "modalities",
    (False, False, True): "low_rank_unshared",
    (True, False, True): "low_rank_layers",
    (False, True, True): "low_rank_modalities",
}
SMALL = ModelConfig(
    hidden=16,
    heads=2,
    intermediate=24,
    layers=2,
    rank=4,
    max_positions=5,
    visual_depth=18,
    audio_depth=18,
    visual_width=2,
    audio_width=2,
)


def model_config(settings: dict, **changes) -> ModelConfig:
    """The configuration of a golden file; CNN widths give the file's feature sizes, 64 and 32."""
    keys = ("sharing_across_layers", "sharing_across_models", "use_decomposition")
    fields = {
        "sharing": SHARING[tuple(settings[key] for key in keys)],
        "fusion": settings["fusion"],
        "hidden": settings["hidden"],
        "heads": settings["heads"],
        "layers": settings["layers"],
        "intermediate": settings["intermediate"],
        "rank": settings["orthogonal_size"],
        "max_positions": settings["max_position_embeddings"],
        "summary": "mean_pooled" if settings["use_mean_pooling"] else "token",
        "modalities": settings["modalities"],
        "visual_depth": 18,
        "audio_depth": 18,
        "visual_width": 8,
        "audio_width": 4,
    }
    return ModelConfig(**{**fields, **changes})


@functools.cache
def golden_model(name: str, **changes) -> tuple[Golden, AVTransformer]:
    golden = Golden(name)
    model = AVTransformer(model_config(golden.config, **changes))
    model.build()
    # The files replace the CNNs by given features.
    report = assign_reference_weights(model, golden.weights, allow_missing=True)
    assert all(missing.startswith(("visual_conv.", "audio_conv.")) for missing in report.missing)
    assert not report.left_over
    return golden, model


def golden_features(golden: Golden, model: AVTransformer) -> dict:
    return {m: golden[f"in/{m}_feat"] for m in model.config.modalities}


def assert_equals_reference(golden: Golden, outputs: dict) -> None:
    names = {
        "visual_tokens": "visual_tokens",
        "audio_tokens": "audio_tokens",
        "single_visual": "visual_context",
        "single_audio": "audio_context",
        "multi": "joint",
    }
    expected = {theirs: ours for theirs, ours in names.items() if f"out64/{theirs}" in golden}
    assert len(expected) >= 2
    for theirs, ours in expected.items():
        assert_close(outputs[ours], golden[f"out64/{theirs}"])
    assert ("joint" in outputs) == ("out64/multi" in golden)


@pytest.mark.parametrize("storage", ["square", "strict_triangle"])
@pytest.mark.parametrize("name", FILES)
def test_outputs_equal_the_reference(name, storage):
    golden, model = golden_model(name, rotation_storage=storage)
    outputs = model.contextualize(model.tokenize(golden_features(golden, model)))
    assert_equals_reference(golden, outputs)


@pytest.mark.parametrize("name", FILES)
def test_folded_models_equal_the_reference(name):
    golden, model = golden_model(name)
    before = [weight.numpy() for weight in model.weights]
    folded = model.fold()
    outputs = folded.contextualize(folded.tokenize(golden_features(golden, folded)))
    assert_equals_reference(golden, outputs)
    for old, new in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(old, new)  # the model itself stays as it was
    names = {weight.name for weight in folded.weights}
    assert not any(name.endswith("_rotation") for name in names) and "shared_kernel" not in names


def test_a_folded_model_has_no_reference_names():
    _, model = golden_model("avbert_mid_shared_decomp")
    with pytest.raises(PemtError, match="folded"):
        reference_slots(model.fold())


def test_the_matrices_of_a_step_are_computed_once(monkeypatch):
    _, model = golden_model("avbert_mid_shared_decomp")
    calls = []
    exponential = orthogonal.matrix_exponential
    monkeypatch.setattr(orthogonal, "matrix_exponential", lambda skew: calls.append(skew.shape) or exponential(skew))
    model.contextualize({m: np.zeros((1, 2, 32), np.float32) for m in ("visual", "audio")})
    assert calls == [(18, 8, 8)]  # 6 maps of 3 modalities


@pytest.mark.parametrize("name", FILES)
def test_embedded_sequences_equal_the_reference(name):
    golden, model = golden_model(name)
    tokens = model.tokenize(golden_features(golden, model))
    for modality, sequence in tokens.items():
        if f"out64/single_{modality}_embedded" in golden:
            embedded = model.embeddings[modality](model.summaries[modality](sequence))
            assert_close(embedded, golden[f"out64/single_{modality}_embedded"])


@pytest.mark.parametrize("modality", ["visual", "audio"])
def test_a_model_of_both_modalities_answers_for_one(modality):
    golden, model = golden_model(f"avbert_mid_{modality}_only", modalities=("visual", "audio"))
    outputs = model.contextualize(model.tokenize({modality: golden[f"in/{modality}_feat"]}))
    assert_equals_reference(golden, outputs)
    assert_close(outputs["embedding"], golden[f"out64/single_{modality}"][:, 0])


def test_embedding_is_the_mean_of_the_summaries():
    golden, model = golden_model("avbert_mid_shared_decomp")
    outputs = model.contextualize(model.tokenize(golden_features(golden, model)))
    joint = golden["out64/multi"]
    assert_close(outputs["embedding"], (joint[:, 0] + joint[:, joint.shape[1] // 2]) / 2)


def test_a_full_mask_is_no_mask():
    golden, model = golden_model("avbert_mid_shared_decomp")
    masks = {m: np.ones((2, 3), np.float32) for m in ("visual", "audio")}
    assert_equals_reference(golden, model.contextualize(model.tokenize(golden_features(golden, model)), masks))


def test_masked_segments_leave_the_rest_as_a_shorter_clip():
    golden, model = golden_model("avbert_mid_shared_decomp_meanpool")
    tokens = model.tokenize(golden_features(golden, model))
    masks = {m: np.array([[1, 1, 0]] * 2, np.float32) for m in tokens}
    masked = model.contextualize(tokens, masks)
    shorter = model.contextualize({m: t[:, :2] for m, t in tokens.items()})
    assert_close(masked["visual_context"][:, :3], shorter["visual_context"])
    assert_close(masked["embedding"], shorter["embedding"])


def test_absent_audio_of_one_clip_counts_as_no_audio():
    golden, model = golden_model("avbert_mid_shared_decomp")
    tokens = model.tokenize(golden_features(golden, model))
    masks = {"visual": np.ones((2, 3), np.float32), "audio": np.array([[1, 1, 1], [0, 0, 0]], np.float32)}
    before = model.contextualize(tokens, masks)["embedding"].numpy()
    changed = {**tokens, "audio": tf.concat([tokens["audio"][:1], tokens["audio"][1:] + 3.0], 0)}
    after = model.contextualize(changed, masks)["embedding"].numpy()
    np.testing.assert_array_equal(after, before)
    assert np.isfinite(before).all()


@pytest.mark.parametrize("share_modalities, count", [("low_rank", 1), ("low_rank_layers", 3)])
def test_streams_share_one_transformer_or_have_three(share_modalities, count):
    model = AVTransformer(dataclasses.replace(SMALL, sharing=share_modalities))
    assert len({id(transformer) for transformer in model.transformers.values()}) == count
    # No dead weights: a Transformer has factors for the streams it serves only.
    for stream, transformer in model.transformers.items():
        assert stream in transformer.modalities
        assert len(transformer.modalities) == 3 // count


def inputs(segments: int = 2) -> dict:
    random = np.random.default_rng(0)
    return {
        "frames": random.normal(size=(2, segments, 4, 32, 32, 3)).astype(np.float32),
        "log_mel": random.normal(size=(2, segments, 16, 32, 1)).astype(np.float32),
    }


def test_segments_go_through_the_cnn_one_by_one():
    model = AVTransformer(SMALL)
    model.build()
    given = inputs(3)
    whole = model.local_features(given)
    for index in range(3):
        one = model.local_features({name: x[:, index : index + 1] for name, x in given.items()})
        for modality in ("visual", "audio"):
            np.testing.assert_allclose(whole[modality][:, index : index + 1], one[modality], rtol=0, atol=1e-5)


def test_too_many_segments_name_both_numbers():
    model = AVTransformer(SMALL)
    model.build()
    with pytest.raises(ValueError, match=r"6 tokens.*5 rows"):
        model(inputs(5))


def test_inputs_without_any_modality_say_what_to_give():
    model = AVTransformer(SMALL)
    model.build()
    with pytest.raises(ValueError, match="give frames or log_mel"):
        model({})


def test_compiled_equals_eager():
    model = AVTransformer(SMALL)
    model.build()
    given = inputs()
    compiled = tf.function(lambda x: model(x), jit_compile=True)(given)
    for name, value in model(given).items():
        np.testing.assert_allclose(compiled[name], value, rtol=0, atol=2e-5)


def test_contract(tmp_path):
    def make(**arguments):
        return AVTransformer(SMALL, **arguments)

    assert_layer_contract(make, inputs(), tmp_path, bfloat16_tolerance=0.25)

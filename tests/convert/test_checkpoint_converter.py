"""The mapping of the authors' names: complete, invertible, strict; and the conversion of a whole checkpoint."""

import dataclasses
import json

import numpy as np
import pytest
from keras import ops

from pemt_tf.config import FUSION, SHARING, ModelConfig
from pemt_tf.convert import checkpoint_converter
from pemt_tf.convert.checkpoint_converter import (
    assign_reference_weights,
    convert_checkpoint,
    export_reference_weights,
    infer_model_fields,
    reference_slots,
)
from pemt_tf.convert.reference_weights import rotation_kind
from pemt_tf.convert.torch_checkpoint import read_torch_checkpoint, state_dict_of
from pemt_tf.errors import PemtError
from pemt_tf.layers.transformer_layer import TransformerLayer
from pemt_tf.models.av_transformer import AVTransformer
from pemt_tf.models.heads import AVClassifier
from pemt_tf.training.run_directory import RunDirectory
from tests.golden import DIRECTORY, Golden, assert_close

CHECKPOINT = DIRECTORY / "checkpoint_small.pyth"
SIZES = ("model.heads=4", "model.layers=2")
SMALL = ModelConfig(
    hidden=8,
    heads=2,
    intermediate=12,
    layers=2,
    rank=4,
    max_positions=5,
    visual_depth=18,
    audio_depth=34,
    visual_width=1,
    audio_width=2,
)


def classifier(**changes) -> AVClassifier:
    model = AVClassifier(dataclasses.replace(SMALL, **changes), classes=3)
    model.build()
    return model


def weights_of(model) -> list:
    """All variables but the random states of dropout."""
    return [variable for variable in model.variables if "seed_generator" not in variable.path]


@pytest.fixture(scope="module")
def small_weights() -> dict:
    return state_dict_of(read_torch_checkpoint(CHECKPOINT))


@pytest.mark.parametrize("sharing", SHARING)
@pytest.mark.parametrize("fusion", FUSION)
def test_every_variable_has_one_slot_and_every_name_comes_back(fusion, sharing):
    model = classifier(fusion=fusion, sharing=sharing, summary="mean_pooled", rotation_storage="strict_triangle")
    slots = reference_slots(model)
    assert sorted(id(slot.variable) for slot in slots) == sorted(id(variable) for variable in weights_of(model))
    random = np.random.default_rng(0)
    for variable in weights_of(model):
        variable.assign(random.normal(size=variable.shape))
    values = [variable.numpy() for variable in weights_of(model)]
    exported = export_reference_weights(model)
    for variable in weights_of(model):
        variable.assign(ops.zeros_like(variable))
    report = assign_reference_weights(model, exported)
    assert set(report.assigned) == set(exported)
    for variable, value in zip(weights_of(model), values, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)
    fields = infer_model_fields(exported, "avbert.")
    expected = {**vars(model.backbone.config), **fields}
    # Their names hold squares, whatever we store.
    expected |= {"sharing": sharing, "rotation_storage": "strict_triangle"}
    assert ModelConfig(**expected) == model.backbone.config
    across_layers, across_modalities, low_rank = SHARING[fields["sharing"]]
    assert (across_layers, low_rank) == (SHARING[sharing][0], SHARING[sharing][2])
    if fusion != "early":  # there one Transformer is all there is
        assert across_modalities == SHARING[sharing][1]


def test_names_are_the_authors(small_weights):
    # Canonical names of the released configuration, against those that the authors' code saved.
    fields = infer_model_fields(small_weights, "avbert.")
    model = AVClassifier(ModelConfig(**fields, heads=4, layers=2), classes=5)
    model.build()
    exported = export_reference_weights(model)
    for name, array in exported.items():
        assert small_weights[name].shape == array.shape
    ignored = ("._B", ".base", ".num_batches_tracked")
    aliases = ("avbert.single_visual_transformer.", "avbert.single_audio_transformer.", "avbert.multi_transformer.")
    kept = {name for name in small_weights if not name.endswith(ignored) and not name.startswith(aliases)}
    assert set(exported) == kept


@pytest.mark.parametrize("storage", ["square", "strict_triangle"])
def test_the_small_checkpoint_gives_the_authors_numbers(tmp_path, storage):
    overrides = (*SIZES, f"model.rotation_storage={storage}")
    report = convert_checkpoint(CHECKPOINT, tmp_path / "run", overrides=overrides, labels=list("abcde"))
    assert set(report.dropped.values()) == {"cached rotation", "identity base of a rotation", "counter of batches"}
    assert not report.missing
    assert not report.left_over
    assert len(report.assigned) + len(report.dropped) == 1063
    model, labels = RunDirectory(tmp_path / "run").load_classifier()
    assert labels == ("a", "b", "c", "d", "e")
    expected = Golden("checkpoint_small_io")
    outputs = model(
        {
            "frames": np.moveaxis(expected["visual_seq"], 2, -1),
            "log_mel": np.moveaxis(expected["audio_seq"], 2, -1),
        }
    )
    assert_close(outputs["visual_context"], expected["single_visual"])
    assert_close(outputs["audio_context"], expected["single_audio"])
    assert_close(outputs["joint"], expected["multi"])
    for head, name in (("clip", "clip_probabilities"), ("sequence", "sequence_probabilities")):
        assert_close(ops.reshape(ops.softmax(outputs["logits"][head]), (-1, 5)), expected[name])


def test_the_run_says_where_it_came_from(tmp_path):
    convert_checkpoint(CHECKPOINT, tmp_path / "run", overrides=SIZES)
    run = RunDirectory(tmp_path / "run")
    assert run.finished
    assert run.description()["source"] == "checkpoint_small.pyth"
    assert json.loads((tmp_path / "run" / "config.json").read_text())["model"]["visual_width"] == 4


def test_what_no_shape_tells_must_be_given(tmp_path):
    with pytest.raises(PemtError, match=r"number of heads.*--set model\.heads=4 --set model\.layers=2$"):
        convert_checkpoint(CHECKPOINT, tmp_path / "run")
    with pytest.raises(PemtError, match="5 classes"):
        convert_checkpoint(CHECKPOINT, tmp_path / "run", overrides=SIZES, labels=["one"])
    assert not (tmp_path / "run").exists()


def test_the_released_width_needs_nothing():
    model = AVTransformer(
        ModelConfig(rank=2, intermediate=4, layers=1, visual_width=1, audio_width=1, visual_depth=18, audio_depth=18)
    )
    model.build()
    fields = infer_model_fields(export_reference_weights(model))
    assert (fields["hidden"], fields["heads"], fields["layers"]) == (768, 12, 6)
    assert fields["rotation"] == "exponential"


def cached_rotation(raw, kind: str):
    """docs/reference_model.md section 2: K = triu(A, 1) - triu(A, 1)^T; exp(K) by its series, or (I + K)^-1 (I - K)."""
    skew = np.triu(raw, 1).astype(np.float64)
    skew = skew - skew.T
    if kind == "cayley":
        return np.linalg.inv(np.eye(len(raw)) + skew) @ (np.eye(len(raw)) - skew)
    total = term = np.eye(len(raw))
    for order in range(1, 40):
        term = term @ skew / order
        total = total + term
    return total


def with_caches(weights: dict, kind: str) -> dict:
    return weights | {
        f"{name[:-1]}_B": cached_rotation(array, kind) for name, array in weights.items() if name.endswith("_linear.A")
    }


@pytest.mark.parametrize("kind", ["exponential", "cayley"])
def test_cached_rotations_tell_their_kind(kind):
    """The authors' code saves them; a model of the other kind is refused, and so are caches of the other kind."""
    other = {"exponential": "cayley", "cayley": "exponential"}[kind]
    weights = export_reference_weights(classifier(rotation=kind))
    assert "rotation" not in infer_model_fields(weights, "avbert.")
    cached = with_caches(weights, kind)
    assert infer_model_fields(cached, "avbert.")["rotation"] == kind
    stale = {name: array * 1.02 if name.endswith(".A") else array for name, array in cached.items()}
    assert infer_model_fields(stale, "avbert.")["rotation"] == kind  # one step of the optimizer later
    target = classifier(rotation=other)
    before = [v.numpy() for v in weights_of(target)]
    with pytest.raises(
        PemtError, match=f"trained with the rotation {kind}.* this model has {other}; give it model.rot"
    ):
        assign_reference_weights(target, cached, allow_missing=True)
    for value, variable in zip(before, weights_of(target), strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)
    assert not assign_reference_weights(classifier(rotation=kind), cached).missing


def test_zero_rotations_tell_nothing():
    weights = {f"orthogonal_ms0_linear.{name}": array for name, array in (("A", np.zeros((4, 4))), ("_B", np.eye(4)))}
    assert rotation_kind(weights) is None
    assert rotation_kind({"orthogonal_ms0_linear._B": np.eye(4), "x._B": np.zeros(3), "x.A": np.zeros((3, 2))}) is None


def without_caches(monkeypatch, small_weights) -> None:
    """The small checkpoint as one that was saved before any forward pass."""
    kept = {name: array for name, array in small_weights.items() if not name.endswith("._B")}
    monkeypatch.setattr(checkpoint_converter, "state_dict_of", lambda _: kept)


def test_all_that_is_missing_is_asked_for_at_once(tmp_path, monkeypatch, small_weights):
    without_caches(monkeypatch, small_weights)
    with pytest.raises(PemtError) as caught:
        convert_checkpoint(CHECKPOINT, tmp_path / "run")
    assert str(caught.value) == (
        "the number of heads and the number of layers and the kind of rotation (exponential or cayley) cannot be read "
        "from a checkpoint of width 32; give what it was trained with, as in --set model.heads=4 --set model.layers=2 "
        "--set model.rotation=exponential"
    )
    with pytest.raises(PemtError, match=r"^the kind of rotation .* cannot be .* as in --set model\.rotation=exponent"):
        convert_checkpoint(CHECKPOINT, tmp_path / "run", overrides=SIZES)
    assert not (tmp_path / "run").exists()


def test_another_rotation_than_the_checkpoint_has_is_refused(tmp_path):
    with pytest.raises(PemtError, match=r"trained with the rotation exponential.* this model has cayley"):
        convert_checkpoint(CHECKPOINT, tmp_path / "run", overrides=(*SIZES, "model.rotation=cayley"))
    assert not (tmp_path / "run").exists()


def test_missing_and_left_over_names_are_refused_before_anything_changes():
    model = classifier()
    weights = {name: array + 1.0 for name, array in export_reference_weights(model).items()}
    before = [variable.numpy() for variable in weights_of(model)]
    missing = weights.pop("avbert.visual_fc.bias")
    weights["avbert.visual_fc.scale"] = missing
    message = r"1 missing .*avbert\.visual_fc\.bias.* and 1 left over .*avbert\.visual_fc\.scale"
    with pytest.raises(PemtError, match=message):
        assign_reference_weights(model, weights)
    for variable, value in zip(weights_of(model), before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)
    report = assign_reference_weights(model, weights, allow_missing=True)
    assert report.missing == ("avbert.visual_fc.bias",)
    assert report.left_over == ("avbert.visual_fc.scale",)
    np.testing.assert_array_equal(model.backbone.projections["visual"].bias.numpy(), 0.0)
    np.testing.assert_array_equal(model.backbone.token_norms["visual"].gamma.numpy(), 2.0)


def test_another_size_names_the_parameter_and_both_shapes():
    weights = export_reference_weights(classifier())
    with pytest.raises(PemtError, match=r"avbert\.visual_fc\.weight has shape \(8, 8\).*\(8, 16\)"):
        assign_reference_weights(classifier(hidden=16), weights)


def test_aliases_that_differ_are_refused(small_weights):
    fields = infer_model_fields(small_weights, "avbert.")
    model = AVClassifier(ModelConfig(**fields, heads=4, layers=2), classes=5)
    model.build()
    name = "avbert.multi_transformer.encoder.albert_layer_groups.0.albert_layers.0.factor_ffn.s_linear.bias"
    changed = {**small_weights, name: small_weights[name] + 1.0}
    with pytest.raises(PemtError, match="are one parameter in this model but differ"):
        assign_reference_weights(model, changed)


def test_a_moved_base_of_a_rotation_is_refused():
    model = classifier()
    weights = export_reference_weights(model)
    name = next(name for name in weights if name.endswith("orthogonal_ms1_linear.A"))
    base = name.removesuffix("A") + "base"
    report = assign_reference_weights(model, {**weights, base: np.eye(4, dtype=np.float32)})
    assert report.dropped[base] == "identity base of a rotation"
    with pytest.raises(PemtError, match="is not the identity"):
        assign_reference_weights(model, {**weights, base: np.eye(4, dtype=np.float32)[::-1]})


def test_a_model_of_one_modality_takes_its_part(small_weights):
    backbone_weights = {n: a for n, a in small_weights.items() if n.startswith("avbert.")}
    fields = {**infer_model_fields(small_weights, "avbert."), "modalities": ("audio",)}
    model = AVTransformer(ModelConfig(**fields, heads=4, layers=2))
    model.build()
    report = assign_reference_weights(model, backbone_weights, "avbert.")
    assert "the model has no visual stream" in report.dropped.values()
    assert "the model has no joint stream" in report.dropped.values()
    assert "modality group that this Transformer does not serve" in report.dropped.values()
    table = small_weights["avbert.summary_encoding.bos_embeddings.weight"]
    np.testing.assert_array_equal(model.summaries["audio"].token.numpy(), table[1])


def test_a_backbone_drops_heads(small_weights):
    model = AVTransformer(ModelConfig(**infer_model_fields(small_weights, "avbert."), heads=4, layers=2))
    model.build()
    report = assign_reference_weights(model, small_weights, "avbert.")
    assert {name for name, reason in report.dropped.items() if reason == "head"} == {
        name for name in small_weights if "head" in name
    }


def test_a_layer_that_is_not_built_says_so():
    with pytest.raises(PemtError, match="build it"):
        reference_slots(TransformerLayer(8, 2, 8))


def test_weights_of_something_else_are_refused():
    with pytest.raises(PemtError, match="not an audio-visual Transformer"):
        infer_model_fields({"encoder.weight": np.ones((2, 2))})

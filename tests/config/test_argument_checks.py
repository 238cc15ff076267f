"""Arguments of layers, models and losses: refused with one sentence that says which one and what is allowed."""

import re

import keras
import numpy as np
import pytest

from pemt_tf.config import Config, ModelConfig
from pemt_tf.config.allowed_values import rules_of
from pemt_tf.errors import ArgumentError, PemtError
from pemt_tf.layers.batch_normalization import BatchNormalization
from pemt_tf.layers.dropout import Dropout
from pemt_tf.layers.embeddings import TokenEmbeddings
from pemt_tf.layers.folded_conv import FoldedConv
from pemt_tf.layers.low_rank_shared_dense import LowRankSharedDense
from pemt_tf.layers.orthogonal import RotationInitializer, rotation_from_skew
from pemt_tf.layers.residual_block import ResidualBlock
from pemt_tf.layers.shared_transformer import SharedTransformer
from pemt_tf.layers.summary_token import SummaryToken
from pemt_tf.layers.transformer_layer import TransformerLayer
from pemt_tf.losses.correct_pair_prediction import PairClassifier, draw_derangement, draw_positions
from pemt_tf.losses.masked_embedding_prediction import CompatibilityNetwork, draw_mask
from pemt_tf.losses.negative_sampling import candidate_log_weights, draw_negatives
from pemt_tf.models.audio_resnet import AudioResNet
from pemt_tf.models.av_transformer import AVTransformer
from pemt_tf.models.heads import AVClassifier, PooledFeatureHead, SequenceHead
from pemt_tf.models.pretraining_model import PretrainingModel
from pemt_tf.models.visual_resnet3d import VisualResNet3D
from pemt_tf.training.classification_losses import head_losses

STEP = ("a", 4, (1, 1), (1, 1))
# Every class with arguments that are allowed.
GOOD = {
    LowRankSharedDense: {"units": 4, "rank": 2},
    RotationInitializer: {"rank": 2},
    TransformerLayer: {"hidden": 4, "heads": 2, "intermediate": 8},
    SharedTransformer: {"layers": 2, "hidden": 4, "heads": 2, "intermediate": 8},
    TokenEmbeddings: {"max_positions": 3, "hidden": 4, "types": 2},
    SummaryToken: {"hidden": 4},
    BatchNormalization: {},
    FoldedConv: {"filters": 2, "kernel": (3, 3)},
    ResidualBlock: {"steps": (STEP,)},
    Dropout: {"rate": 0.5},
    VisualResNet3D: {"depth": 18, "width": 1},
    AudioResNet: {"depth": 18, "width": 1},
    PooledFeatureHead: {"classes": 2, "modalities": ("audio",)},
    SequenceHead: {"classes": 2, "hidden": 4},
    CompatibilityNetwork: {"hidden": 4},
    PairClassifier: {"hidden": 4},
}
CONFIG = {"hidden": 8, "heads": 2, "intermediate": 8, "layers": 1, "rank": 2, "max_positions": 3}
CONFIG |= {"visual_depth": 18, "visual_width": 1, "audio_depth": 18, "audio_width": 1}
NO_VALUES = (-1, 10**400, float("nan"), float("inf"), "much", b"1", {}, [[]], object())


@pytest.mark.parametrize("kind", GOOD, ids=lambda kind: kind.__name__)
def test_every_argument_of_every_layer_is_checked(kind):
    kind(**GOOD[kind])
    rules = rules_of(kind.__init__)
    assert set(rules) >= set(GOOD[kind]) - {"steps"}
    for name in rules:
        for value in NO_VALUES:
            with pytest.raises(ArgumentError) as caught:
                kind(**{**GOOD[kind], name: value})
            assert f"{kind.__name__}: {name} is " in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        (LowRankSharedDense, {"rank": 0}, "LowRankSharedDense: rank is 0; allowed: a whole number, 1 or more"),
        (LowRankSharedDense, {"rank": 2.5}, "LowRankSharedDense: rank is 2.5; allowed: a whole number"),
        (LowRankSharedDense, {"rank": True}, "LowRankSharedDense: rank is True; allowed: a whole number"),
        (LowRankSharedDense, {"rotation": "foo"}, "rotation is 'foo'; allowed: exponential, cayley"),
        (LowRankSharedDense, {"rotation_storage": "full"}, "is 'full'; allowed: strict_triangle, square, folded"),
        (LowRankSharedDense, {"modalities": "audio"}, "modalities is 'audio'; allowed: a list of names"),
        (LowRankSharedDense, {"modalities": ("a", "a")}, "modalities is ('a', 'a'); allowed: a list of names, none of"),
        (LowRankSharedDense, {"modalities": ()}, "modalities is (); allowed"),
        (LowRankSharedDense, {"initializer_std": 0}, "initializer_std is 0; allowed: a finite number above 0"),
        (TransformerLayer, {"heads": 3}, "TransformerLayer: hidden is 4; allowed: a multiple of heads (3)"),
        (TransformerLayer, {"rank": 0}, "rank is 0; allowed: a whole number, 1 or more; or None"),
        (TransformerLayer, {"rank": 2}, "TransformerLayer: modalities is (); allowed: at least one name with rank 2"),
        (SharedTransformer, {"rank": 2}, "modalities is (); allowed: at least one name with rank 2"),
        (SharedTransformer, {"attention_dropout": 1}, "attention_dropout is 1; allowed: a probability from 0 to below"),
        (FoldedConv, {"kernel": (2, 3)}, "FoldedConv: kernel is (2, 3); allowed: two or three sides, all odd"),
        (FoldedConv, {"kernel": (3,)}, "FoldedConv: kernel is (3,); allowed: two or three sides"),
        (FoldedConv, {"strides": (1,)}, "FoldedConv: strides is (1,); allowed: 2, one for each side"),
        (ResidualBlock, {"steps": ()}, "ResidualBlock: steps is (); allowed: a list of (name, filters, kernel, stride"),
        (ResidualBlock, {"steps": (("a", 4, (1, 1)),)}, "ResidualBlock: steps is"),
        (ResidualBlock, {"steps": (("a", 0, (1, 1), (1, 1)),)}, "FoldedConv: filters is 0"),
        (ResidualBlock, {"steps": 3}, "ResidualBlock: steps is 3"),
        (VisualResNet3D, {"depth": 101}, "VisualResNet3D: depth is 101; allowed: 18, 34, 50"),
        (PooledFeatureHead, {"modalities": ("text",)}, "is ('text',); allowed: a list of these names: visual, audio"),
    ],
)
def test_messages_name_what_is_allowed(kind, arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        kind(**{**GOOD[kind], **arguments})
    assert isinstance(caught.value, PemtError)  # a command that meets it prints one line


def test_numbers_of_numpy_are_numbers():
    layer = LowRankSharedDense(np.int64(4), np.int32(2), ["visual", "audio"], initializer_std=np.float32(0.5))
    config = layer.get_config()
    assert (config["units"], config["rank"], config["modalities"], config["initializer_std"]) == (
        4,
        2,
        ("visual", "audio"),
        0.5,
    )
    assert {type(config[name]) for name in ("units", "rank")} == {int}


def test_a_missing_or_unknown_argument_is_pythons_own_error():
    with pytest.raises(TypeError, match="missing a required argument: 'rank'"):
        LowRankSharedDense(4)
    with pytest.raises((TypeError, ValueError), match="ranks"):
        LowRankSharedDense(4, 2, ranks=3)


def test_an_unknown_modality_of_a_call():
    dense = LowRankSharedDense(4, 2, ("visual", "audio"))
    dense.build((None, 4))
    x = np.ones((1, 4), np.float32)
    said = r"LowRankSharedDense: modality is 'text'; allowed: visual, audio"
    for call in (lambda: dense(x, modality="text"), lambda: dense.expansion("text"), lambda: dense.skew("text")):
        with pytest.raises(ArgumentError, match=said):
            call()
    with pytest.raises(ArgumentError, match="modality is 'text'; allowed: visual, audio"):
        dense(x, modality="text", expansion=dense.expansion("audio"))
    for kind in (TransformerLayer, SharedTransformer):
        layer = kind(**GOOD[kind], rank=2, modalities=("visual", "audio"))
        layer.build()
        for modality in ("text", None, ["audio"]):
            with pytest.raises(ArgumentError, match=re.escape(f"modality is {modality!r}; allowed: visual, audio")):
                layer(np.ones((1, 2, 4), np.float32), modality=modality)


def test_a_type_that_the_table_does_not_have():
    layer = TokenEmbeddings(**GOOD[TokenEmbeddings])
    layer.build()
    with pytest.raises(ArgumentError, match="TokenEmbeddings: token_type is 2; allowed: None, 0, 1"):
        layer(np.ones((1, 2, 4), np.float32), token_type=2)


def test_a_folded_layer_has_no_rotation_and_fits_its_source():
    folded, source = (LowRankSharedDense(4, 2, rotation_storage=kind) for kind in ("folded", "square"))
    for layer in (folded, source):
        layer.build((None, 4))
    with pytest.raises(ArgumentError, match="rotation_storage is 'folded'; allowed: strict_triangle, square"):
        folded.rotation_matrix("audio")
    with pytest.raises(ArgumentError, match="LowRankSharedDense: source is"):
        source.fold_from(source)
    other = LowRankSharedDense(4, 3)
    other.build((None, 4))
    with pytest.raises(ArgumentError, match=r"source is \(4, 3, "):
        folded.fold_from(other)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AVTransformer({**CONFIG, "rang": 3}), "configuration section model has no field 'rang'; known: moda"),
        (lambda: AVTransformer({**CONFIG, "rank": 0}), "configuration field model.rank is 0; allowed: a whole number"),
        (lambda: AVTransformer("tiny"), "AVTransformer: config is 'tiny'; allowed: a ModelConfig"),
        (lambda: AVTransformer(Config()), "allowed: a ModelConfig, as Config.model is, or a dict of its fields"),
        (lambda: AVClassifier(CONFIG, 0), "AVClassifier: classes is 0; allowed: a whole number, 1 or more"),
        (lambda: AVClassifier(CONFIG, 3, dropout=1.0), "AVClassifier: dropout is 1.0; allowed: a probability"),
        (lambda: AVClassifier(CONFIG, 3, streams=("text",)), "AVClassifier: streams is ('text',); allowed: a list of"),
        (
            lambda: AVClassifier({**CONFIG, "modalities": ("audio",)}, 3, streams=("visual",)),
            "AVClassifier: streams is ('visual',); allowed: some of audio",
        ),
        (lambda: PretrainingModel(ModelConfig(**CONFIG), {}), "PretrainingModel: pretrain is {}; allowed: a Pretrain"),
        (lambda: PretrainingModel("tiny", Config().pretrain), "AVTransformer: config is 'tiny'"),
    ],
)
def test_models(make, message):
    with pytest.raises(PemtError, match=re.escape(message)):
        make()


def test_an_unknown_modality_of_a_model():
    model = AVTransformer(CONFIG)
    tokens = {"text": np.ones((1, 2, 8), np.float32)}
    for call in (model.tokenize, model.contextualize):
        with pytest.raises(ArgumentError, match="AVTransformer: modality is 'text'; allowed: visual, audio"):
            call(tokens)
    with pytest.raises(ArgumentError, match="the inputs hold no modality of this model; give frames or log_mel"):
        model.local_features({"audio_mask": np.ones((1, 2), np.float32)})
    said = "AVTransformer: an input is 'log_mels'; allowed: frames, log_mel, visual_mask, audio_mask"
    with pytest.raises(ArgumentError, match=said):  # else the sounds would be passed over
        model.local_features({"frames": np.ones((1, 2, 1, 8, 8, 3), np.float32), "log_mels": np.ones((1, 2, 8, 8, 1))})


EMBEDDINGS, GROUPS = np.zeros((4, 2), np.float32), np.zeros(4, np.int32)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: draw_mask(2, 3, 0.0, 1), "draw_mask: rate is 0.0; allowed: a share above 0, at most 1"),
        (lambda: draw_mask(2, 0, 0.5, 1), "draw_mask: segments is 0; allowed"),
        (lambda: draw_positions(2, 0, 1), "draw_positions: segments is 0"),
        (lambda: draw_derangement(1, 1), "draw_derangement: groups is 1; allowed: equal groups of 2 or more of 1"),
        (lambda: draw_derangement(6, 1, 4), "draw_derangement: groups is 4; allowed: equal groups of 2 or more of 6"),
        (
            lambda: candidate_log_weights(EMBEDDINGS, GROUPS, "hard"),
            "candidate_log_weights: method is 'hard'; allowed: current_sequence, mini_batch, cans_similar, cans_dissim",
        ),
        (lambda: candidate_log_weights(EMBEDDINGS, GROUPS, "cans_similar", 0), "band is 0; allowed: a share above 0"),
        (lambda: draw_negatives(EMBEDDINGS, 0, 1), "draw_negatives: count is 0; allowed: a whole number, 1 or more"),
        (lambda: rotation_from_skew(np.zeros((2, 2)), "foo"), "rotation is 'foo'; allowed: exponential, cayley"),
        (lambda: head_losses({}, [], loss="hinge"), "head_losses: loss is 'hinge'; allowed: cross_entropy, multi_marg"),
        (lambda: head_losses({}, [], 1.0), "head_losses: label_smoothing is 1.0; allowed: a probability"),
        (lambda: head_losses({}, [], margin=0), "head_losses: margin is 0; allowed: a finite number above 0"),
    ],
)
def test_losses(call, message):
    with pytest.raises(ArgumentError, match=re.escape(message)):
        call()


def test_layers_of_earlier_files_are_read_back():
    """Keras gives constructors what `get_config` said, after JSON: lists for tuples."""
    layer = ResidualBlock((("a", 4, (3, 3), (2, 2)),), (2, 2), name="block")
    restored = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert restored.steps == layer.steps and restored.shortcut_strides == (2, 2)

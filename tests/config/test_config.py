"""Configurations: validated on construction, presets that load, and one sentence for every mistake."""

import dataclasses
import json
import math
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pemt_tf.config import SHARING, ClipGeometry, Config, ModelConfig, load_config, preset_names, save_config
from pemt_tf.config.allowed_values import rules_of
from pemt_tf.config.augmentation import AugmentationConfig
from pemt_tf.config.training import NEGATIVES, FinetuneConfig, PretrainConfig
from pemt_tf.errors import PemtError


@pytest.mark.parametrize("name", preset_names())
def test_presets_load_under_their_names(name):
    config = Config.from_preset(name)
    assert config.name == name
    assert Config.from_dict(config.to_dict()) == config


def test_the_released_configuration():
    """docs/reference_model.md sections 7, 8, 11, 12 and 15, docs/pretraining_objectives.md section 5."""
    config = Config.from_preset("avbert_base")
    geometry, model, pretrain = config.geometry, config.model, config.pretrain
    assert (geometry.segments, geometry.frames_per_segment, geometry.frame_rate) == (10, 32, 15.0)
    assert (geometry.sample_rate, geometry.samples_per_segment) == (44_100, 94_080)
    assert (geometry.mel_bins, geometry.mel_frames, geometry.train_crop, geometry.test_crop) == (80, 128, 112, 128)
    assert (model.hidden, model.heads, model.intermediate, model.layers, model.rank) == (768, 12, 3072, 6, 128)
    assert (model.sharing, model.fusion, model.rotation, model.rotation_storage) == (
        "low_rank",
        "mid",
        "exponential",
        "square",
    )
    assert (model.visual_depth, model.visual_width, model.audio_depth, model.audio_width) == (50, 64, 50, 32)
    assert (pretrain.batch_size, pretrain.steps, pretrain.beta_2, pretrain.weight_decay) == (256, 220_000, 0.98, 1e-4)


def test_segment_seconds():
    assert ClipGeometry().segment_seconds == pytest.approx(32 / 15)


def test_geometries_differ_by_name():
    mine = ClipGeometry()
    assert mine.differences(mine) == []
    theirs = dataclasses.replace(mine, segments=8, train_scale=(120, 160))
    assert mine.differences(theirs) == [
        "segments: 10 here, 8 there",
        "train_scale: (128, 160) here, (120, 160) there",
    ]


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (ClipGeometry, {"segments": 0}, "geometry.segments is 0; allowed: a whole number, 1 or more"),
        (ClipGeometry, {"mel_bins": -1}, "geometry.mel_bins is -1"),
        (
            ClipGeometry,
            {"train_scale": (100, 160)},
            "geometry.train_scale is (100, 160); allowed: two sizes, smallest",
        ),
        (ClipGeometry, {"train_scale": (160, 128)}, "geometry.train_scale is (160, 128)"),
        (
            ClipGeometry,
            {"samples_per_segment": 90_000},
            "samples of 2.1333 s (frames_per_segment / frame_rate) at 44100 Hz: 94080",
        ),
        (ModelConfig, {"sharing": "some"}, "model.sharing is 'some'; allowed: " + ", ".join(SHARING)),
        (ModelConfig, {"fusion": "middle"}, "model.fusion is 'middle'; allowed: early, mid, late"),
        (
            ModelConfig,
            {"modalities": ()},
            "model.modalities is (); allowed: [visual], [audio] or [visual, audio]",
        ),
        (ModelConfig, {"modalities": ("text",)}, "model.modalities is ('text',)"),
        (ModelConfig, {"hidden": 100}, "model.hidden is 100; allowed: a multiple of heads (12)"),
        (ModelConfig, {"visual_depth": 101}, "model.visual_depth is 101; allowed: 18, 34, 50"),
        (ModelConfig, {"hidden_dropout": 1.0}, "model.hidden_dropout is 1.0; allowed: a probability"),
        (PretrainConfig, {"negatives": "hard"}, "pretrain.negatives is 'hard'; allowed: " + ", ".join(NEGATIVES)),
        (PretrainConfig, {"batch_size": 1}, "pretrain.batch_size is 1; allowed: 2 or more"),
        (PretrainConfig, {"mask_rate": 0}, "pretrain.mask_rate is 0; allowed: a share above 0, at most 1"),
        (PretrainConfig, {"learning_rate": float("nan")}, "pretrain.learning_rate is nan"),
        (FinetuneConfig, {"schedule": "step"}, "finetune.schedule is 'step'; allowed: cosine, linear, constant"),
        (FinetuneConfig, {"finetune_learning_rate": -1}, "allowed: a finite number, 0 (frozen backbone) or more"),
        (FinetuneConfig, {"head_dropout": 1}, "finetune.head_dropout is 1"),
        (FinetuneConfig, {"label_smoothing": 1}, "finetune.label_smoothing is 1; allowed: 0 (off) to below 1"),
        (FinetuneConfig, {"validation_split": "test"}, "validation_split is 'test'; allowed: a split that is neither"),
        (
            FinetuneConfig,
            {"loss": "multi_margin", "label_smoothing": 0.1},
            "finetune.label_smoothing is 0.1; allowed: 0 with loss multi_margin",
        ),
        (FinetuneConfig, {"loss": "hinge"}, "finetune.loss is 'hinge'; allowed: cross_entropy, multi_margin"),
        (
            FinetuneConfig,
            {"frozen": ["head"]},
            "finetune.frozen is ['head']; allowed: a list of these names: backbone, visual_cnn, ",
        ),
        (FinetuneConfig, {"accumulation": 2}, "allowed: a number that splits the 5 clips of a batch into equal parts"),
        (FinetuneConfig, {"ema": 1.0}, "finetune.ema is 1.0; allowed: 0 (off) to below 1"),
        (PretrainConfig, {"precision": "half"}, "pretrain.precision is 'half'; allowed: float32, mixed_bfloat16"),
        (PretrainConfig, {"batch_size": 4, "accumulation": 4}, "allowed: parts of 2 clips or more of the 4 of a batch"),
        (FinetuneConfig, {"mixup": -0.1}, "finetune.mixup is -0.1; allowed: a finite number, 0 (off) or more"),
        (AugmentationConfig, {"time_roll": 0.6}, "augmentation.time_roll is 0.6; allowed: 0 (off) to 0.5"),
        (AugmentationConfig, {"mask_count": 1.5}, "augmentation.mask_count is 1.5; allowed: a whole number"),
    ],
)
def test_values_out_of_range_are_named_with_what_is_allowed(kind, values, message):
    with pytest.raises(PemtError, match=re.escape(message)):
        kind(**values)


def test_more_segments_than_positions():
    with pytest.raises(PemtError, match=r"model\.max_positions is 22; allowed: at least segments \+ 1 = 31"):
        Config(geometry=ClipGeometry(segments=30))


def test_round_trip_through_a_file(tmp_path, small_config):
    save_config(small_config, tmp_path / "config.json")
    assert load_config(tmp_path / "config.json") == small_config
    assert json.loads((tmp_path / "config.json").read_text())["geometry"]["train_scale"] == [16, 24]


@pytest.mark.parametrize("content", ["", "{", "[]", "3", '{"model": {"rank": "big"}}', '{"unheard_of": {}}'])
def test_a_damaged_file_is_one_sentence(tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(PemtError):
        load_config(tmp_path / "config.json")


def test_overrides():
    config = Config.from_preset("tiny").with_overrides(
        [
            "pretrain.learning_rate=1e-4",
            "model.modalities=[audio]",
            "pretrain.stop_target_gradient=true",
            "model.rank=8",
        ]
    )
    assert config.pretrain.learning_rate == 1e-4 and config.pretrain.stop_target_gradient is True
    assert config.model.modalities == ("audio",) and config.model.rank == 8
    assert Config.from_preset("tiny").model.rank == 16


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("rank=8", "cannot read --set 'rank=8'; write section.field=value, as in model.rank=64"),
        ("model.rank", "cannot read --set 'model.rank'"),
        ("mode.rank=8", "cannot read --set 'mode.rank=8'"),
        ("name.x=8", "cannot read --set 'name.x=8'"),
        (
            "model.rang=8",
            "configuration section model has no field 'rang'; known: modalities, ",
        ),
        ("model.rank=big", "model.rank is 'big'; allowed: a whole number"),
        ("model.rank=[1", "cannot read --set 'model.rank=[1'"),
        ("model.rank=", "model.rank is None; allowed: a whole number"),
        ("model.attention_dropout=high", "model.attention_dropout is 'high'; allowed: a probability from 0"),
        ("model.modalities=3", "model.modalities is 3; allowed: [visual], [audio] or"),
        ("pretrain.steps=1.5", "pretrain.steps is 1.5; allowed: a whole number"),
        ("pretrain.steps=true", "pretrain.steps is True; allowed: a whole number"),
        ("geometry.segments=2.5", "geometry.segments is 2.5; allowed: a whole number"),
        (
            "pretrain.stop_target_gradient=maybe",
            "pretrain.stop_target_gradient is 'maybe'; allowed: true or false",
        ),
    ],
)
def test_overrides_that_mean_nothing(assignment, message):
    with pytest.raises(PemtError, match=re.escape(message)):
        Config.from_preset("tiny").with_overrides([assignment])


def test_a_whole_number_may_be_written_as_a_power_of_ten():
    assert Config.from_preset("tiny").with_overrides(["pretrain.steps=1e3"]).pretrain.steps == 1000


def test_unknown_preset_names_the_known_ones():
    with pytest.raises(PemtError, match=r"no preset 'huge'; known presets: .*tiny.*, or the path of a \.yaml file"):
        Config.from_preset("huge")


def test_a_preset_of_ones_own(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("model:\n  rank: 64\n")
    config = Config.from_preset(str(path))
    assert config.name == "mine" and config.model.rank == 64 and config.geometry == ClipGeometry()
    path.write_text("")
    assert Config.from_preset(str(path)).model == ModelConfig()


@pytest.mark.parametrize(
    "content", [b"model: [", b"- a\n- b\n", b"just text", b"\xff\xfe\x00", b"model: 3", b"mode:\n  rank: 3"]
)
def test_a_preset_that_is_none(tmp_path, content):
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    with pytest.raises(PemtError):
        Config.from_preset(str(path))


@pytest.mark.parametrize(("steps", "fraction", "expected"), [(220_000, 0.06, 13_200), (10, 0.0, 0), (10, 0.19, 1)])
def test_warmup_steps(steps, fraction, expected):
    assert FinetuneConfig(steps=steps, warmup_fraction=fraction).warmup_steps == expected


def test_a_classifier_cannot_look_at_a_stream_that_the_model_lacks():
    with pytest.raises(PemtError, match=r"finetune.streams is \('visual',\); allowed: .*audio"):
        Config.from_dict({"model": {"modalities": ["audio"]}, "finetune": {"streams": ["visual"]}})


SECTIONS = {
    "geometry": ClipGeometry,
    "model": ModelConfig,
    "pretrain": PretrainConfig,
    "finetune": FinetuneConfig,
    "augmentation": AugmentationConfig,
}
FIELDS = [(section, field.name) for section, kind in SECTIONS.items() for field in dataclasses.fields(kind)]


@pytest.mark.parametrize("kind", SECTIONS.values())
def test_every_field_has_a_rule(kind):
    assert set(rules_of(kind)) == {field.name for field in dataclasses.fields(kind)}


NO_VALUES = (math.nan, math.inf, -math.inf, -1, 10**400, 10**5000, None, "", "much", [], {}, [1, [2]], b"1")
FITS = (["frozen", []], ["streams", []], ["validation_split", "much"])


@pytest.mark.parametrize(("section", "name"), FIELDS)
def test_no_field_takes_what_is_no_value(section, name):
    """None of these is a size, a rate, a share, a switch or a word, but for the few in `FITS`."""
    for value in NO_VALUES:
        if [name, value] in FITS:
            continue
        with pytest.raises(PemtError) as caught:
            Config.from_dict({section: {name: value}})
        assert f"{section}.{name} is " in str(caught.value) and "\n" not in str(caught.value)


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([2**31 - 1, 2**31, 2**63, -(2**70), 10**400])
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["audio", "visual", "cosine", "1e-4", "backbone", "cayley", "\ud800", "a\nb", "x" * 10_000]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(FIELDS), ANYTHING)
def test_any_value_is_a_configuration_or_one_sentence_that_names_the_field(field, value):
    section, name = field
    try:
        config = Config.from_dict({section: {name: value}})
    except PemtError as error:
        # Fields that do not fit together are named by the one that is checked.
        assert f"configuration field {section}." in str(error) or "configuration field model.max_positions" in str(
            error
        )
        assert "\n" not in str(error) and len(str(error)) < 500
    else:
        assert Config.from_dict(config.to_dict()) == config


@settings(max_examples=200, deadline=None)
@given(ANYTHING, st.sampled_from([None, "name", *SECTIONS]))
def test_anything_in_the_place_of_a_section_is_a_configuration_or_one_sentence(value, section):
    try:
        Config.from_dict(value if section is None else {section: value})
    except PemtError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("pretrain.weight_decay=-1", "pretrain.weight_decay is -1; allowed: a finite number, 0 or more"),
        ("pretrain.beta_1=1.5", "pretrain.beta_1 is 1.5; allowed: a probability from 0 to below 1"),
        ("pretrain.beta_2=1", "pretrain.beta_2 is 1; allowed"),
        ("pretrain.learning_rate=inf", "pretrain.learning_rate is 'inf'; allowed: a finite number above 0"),
        ("pretrain.learning_rate=.inf", "pretrain.learning_rate is inf; allowed"),
        ("pretrain.learning_rate=1e39", "pretrain.learning_rate is 1e+39; allowed"),  # infinite in float32
        ("pretrain.epsilon=1e-60", "pretrain.epsilon is 1e-60; allowed: a finite number above 0"),  # 0 in float32
        ("finetune.ema=0.999999999", "finetune.ema is 0.999999999; allowed: 0 (off) to below 1"),  # 1 in float32
        ("pretrain.warmup_fraction=1.1", "pretrain.warmup_fraction is 1.1; allowed: a share from 0 to 1"),
        ("pretrain.pair_weight=-1", "pretrain.pair_weight is -1; allowed"),
        ("pretrain.seed=-1", "pretrain.seed is -1; allowed: a whole number, 0 or more"),
        ("finetune.seed=4294967296", "finetune.seed is 4294967296; allowed"),
        ("model.modalities=[audio,audio]", "model.modalities is ['audio', 'audio']; allowed: [visual], [audio] or"),
        ("finetune.streams=[audio,audio]", "finetune.streams is ['audio', 'audio']; allowed: a list of these names"),
        ("finetune.frozen=[tokens,tokens]", "finetune.frozen is ['tokens', 'tokens']; allowed"),
        ("geometry.train_scale=[48]", "geometry.train_scale is [48]; allowed: two sizes in pixels, as in [128, 160]"),
        ("geometry.train_scale=[40, 44, 48]", "geometry.train_scale is [40, 44, 48]; allowed: two sizes"),
        ("geometry.train_scale=[40, x]", "geometry.train_scale is [40, 'x']; allowed: two sizes"),
        ("geometry.mel_frames=1", "geometry.mel_frames is 1; allowed"),
        ("model.visual_depth=[50]", "model.visual_depth is [50]; allowed: 18, 34, 50"),
        ("finetune.validation_split=3", "finetune.validation_split is 3; allowed: text"),
        ("model.rank=8: 9", "model.rank is {8: 9}; allowed: a whole number"),
    ],
)
def test_values_that_passed_or_were_tracebacks(assignment, message):
    with pytest.raises(PemtError, match=re.escape(f"configuration field {message}")):
        Config.from_preset("tiny").with_overrides([assignment])


def test_a_preset_file_may_write_numbers_as_powers_of_ten(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("pretrain:\n  learning_rate: 1e-4\n  steps: 2e3\nfinetune: {weight_decay: 5E-6, mixup: .5e0}\n")
    config = Config.from_preset(str(path))
    assert config.pretrain.learning_rate == 0.0001 and config.pretrain.steps == 2000
    assert config.finetune.weight_decay == 0.000005 and config.finetune.mixup == 0.5


@pytest.mark.parametrize("section", ["[]", "false", "0", "''"])
def test_a_section_that_holds_no_fields(tmp_path, section):
    path = tmp_path / "mine.yaml"
    path.write_text(f"model: {section}\n")
    with pytest.raises(PemtError, match=re.escape(f"{path}: configuration section model is ")):
        Config.from_preset(str(path))


def test_a_configuration_without_the_field_means_the_papers_similarity():
    """That of runs which older releases wrote, and of the paper's own geometry."""
    values = Config.from_preset("avbert_base").to_dict()
    assert values["pretrain"].pop("similarity") == "product"
    assert Config.from_dict(values).pretrain.similarity == "product"
    with pytest.raises(PemtError, match=r"pretrain.similarity is 'dot'; allowed: product, cosine"):
        Config.from_preset("tiny").with_overrides(["pretrain.similarity=dot"])

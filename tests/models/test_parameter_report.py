"""Parameter counts of built models, against the literals of the paper and of docs/reference_model.md section 15."""

import dataclasses
import math

import pytest

from pemt_tf.config import Config, ModelConfig
from pemt_tf.models.heads import AVClassifier
from pemt_tf.models.parameter_report import parameter_report
from pemt_tf.models.without_values import without_values

# One dense layer 7,087,872. One low-rank layer serving one, two or three streams:
DENSE, ONE, TWO, THREE = 7_087_872, 1_877_760, 2_860_800, 3_843_840
LAYERS = 6
# Transformer weights by (fusion, sharing). Early fusion has one Transformer of one stream, late two, mid three. No
# Transformer carries factors of streams that it does not serve.
TRANSFORMER = {
    ("early", "none"): LAYERS * DENSE,
    ("early", "layers"): DENSE,
    ("early", "modalities"): LAYERS * DENSE,
    ("early", "layers_and_modalities"): DENSE,
    ("early", "low_rank_unshared"): LAYERS * ONE,
    ("early", "low_rank_layers"): ONE,
    ("early", "low_rank_modalities"): LAYERS * ONE,
    ("early", "low_rank"): ONE,
    ("mid", "none"): 3 * LAYERS * DENSE,
    ("mid", "layers"): 3 * DENSE,
    ("mid", "modalities"): LAYERS * DENSE,
    ("mid", "layers_and_modalities"): DENSE,
    ("mid", "low_rank_unshared"): 3 * LAYERS * ONE,
    ("mid", "low_rank_layers"): 3 * ONE,
    ("mid", "low_rank_modalities"): LAYERS * THREE,
    ("mid", "low_rank"): THREE,
    ("late", "none"): 2 * LAYERS * DENSE,
    ("late", "layers"): 2 * DENSE,
    ("late", "modalities"): LAYERS * DENSE,
    ("late", "layers_and_modalities"): DENSE,
    ("late", "low_rank_unshared"): 2 * LAYERS * ONE,
    ("late", "low_rank_layers"): 2 * ONE,
    ("late", "low_rank_modalities"): LAYERS * TWO,
    ("late", "low_rank"): TWO,
}
# The CNNs do not matter here and are kept small.
SMALL_CNNS = {"visual_depth": 18, "audio_depth": 18, "visual_width": 1, "audio_width": 1}


@pytest.mark.parametrize("fusion, sharing", TRANSFORMER)
def test_transformer_parameters(fusion, sharing):
    config = ModelConfig(fusion=fusion, sharing=sharing, rotation_storage="square", **SMALL_CNNS)
    report = parameter_report(config)
    assert report.transformer == TRANSFORMER[fusion, sharing]
    assert report.unshared == TRANSFORMER[fusion, "none"]


@pytest.mark.parametrize(
    "sharing, parameters",
    [("none", 127_581_696), ("layers", 21_263_616), ("layers_and_modalities", 7_087_872), ("low_rank", 3_843_840)],
)
def test_the_four_rows_of_the_paper(sharing, parameters):
    assert (
        parameter_report(ModelConfig(sharing=sharing, rotation_storage="square", **SMALL_CNNS)).transformer
        == parameters
    )


def test_strict_triangle_stores_only_the_degrees_of_freedom():
    report = parameter_report(ModelConfig(rotation_storage="strict_triangle", **SMALL_CNNS))
    assert report.transformer == 3_695_232
    assert report.summary == "Transformer: 3,695,232 of 127,581,696 (-97.10 %)"


@pytest.fixture(scope="module")
def released():
    """The released configuration."""
    return dataclasses.replace(Config.from_preset("avbert_base").model, rotation_storage="square")


def test_the_released_model_part_by_part(released):
    report = parameter_report(released)
    parts = {row.part: row.parameters for row in report.rows}
    assert parts["Visual CNN"] == 31_672_128
    assert parts["Audio CNN"] == 5_839_840
    assert parts["Visual token projection"] == 1_573_632 + 1_536
    assert parts["Audio token projection"] == 787_200 + 1_536
    assert parts["Visual summary"] + parts["Audio summary"] == 1_536
    assert parts["Visual embeddings"] == parts["Audio embeddings"] == 18_432
    assert parts["Joint embeddings"] == 19_968
    assert sum(count for part, count in parts.items() if part.startswith("Transformer")) == 3_843_840
    assert sum(count for part, count in parts.items() if "rotation" in part) == 18 * 128 * 128
    assert report.total == sum(parts.values()) == 43_778_080
    assert report.summary == "Transformer: 3,843,840 of 127,581,696 (-96.99 %)"
    assert report.table().endswith(report.summary)


def test_the_kinetics_sounds_model_with_its_heads(released):
    def build():
        model = AVClassifier(released, classes=32)
        model.build()
        return model

    model = without_values(build)

    def count(part) -> int:
        return sum(math.prod(weight.shape) for weight in part.trainable_weights)

    assert count(model.clip_head) == 98_336
    assert count(model.sequence_head) == 2_385_440
    assert count(model) == 46_261_856

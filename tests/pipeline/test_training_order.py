"""What a data set must have before a pipeline is made of it."""

import pytest

from pemt_tf.errors import PemtError
from pipeline.configs import PipelineConfig
from pipeline.training_order import code_fingerprint, judging_split, make_order
from tests.pipeline.dataset import OVERRIDES, fake_clip, write_dataset


def clips(*labels):
    return [fake_clip(seed, label) for seed, label in enumerate(labels)]


def config_for(folder, **fields) -> PipelineConfig:
    return PipelineConfig(data=folder, overrides=OVERRIDES, **fields)


def test_the_order_says_what_the_card_and_the_configuration_say(tmp_path):
    write_dataset(tmp_path, {"train": clips(0, 1, None), "test": clips(1)})

    order = make_order(config_for(tmp_path))

    assert (order.labels, order.train_labels) == (["quiet", "loud"], ["quiet", "loud"])
    assert (order.data, order.content_hash, order.cpu_devices) == (str(tmp_path), "4 clips", 1)
    assert order.pretrains and order.config["geometry"]["segments"] == 2
    assert order.to_custom_config()["config"]["model"]["fusion"] == "early"
    assert order.code == code_fingerprint() and len(order.code) == 64


def test_a_data_set_of_another_geometry_is_refused_with_both_values(tmp_path):
    write_dataset(tmp_path, {"train": clips(0, 1), "test": clips(1)})

    with pytest.raises(PemtError, match="segments: 4 here, 2 there"):
        make_order(PipelineConfig(data=tmp_path))


@pytest.mark.parametrize(
    ("splits", "says"),
    [
        ({"test": (0, 1)}, "has no split 'train'"),
        ({"train": (0, 0), "test": (0, 1)}, "label 'loud' has no clip in the training split"),
    ],
)
def test_a_data_set_that_cannot_be_learned_is_refused(tmp_path, splits, says):
    write_dataset(tmp_path, {name: clips(*labels) for name, labels in splits.items()})

    with pytest.raises(PemtError, match=says):
        make_order(config_for(tmp_path))


@pytest.mark.parametrize(
    ("splits", "judge"),
    [
        ({"train": (0, 1), "validation": (0,), "test": (1, None)}, "test"),
        ({"train": (0, 1), "validation": (0,), "test": (None,)}, "validation"),
        ({"train": (0, 1), "validation": (0,)}, "validation"),
    ],
)
def test_labelled_test_clips_judge_and_in_a_small_data_set_validation(tmp_path, splits, judge):
    card = write_dataset(tmp_path, {name: clips(*labels) for name, labels in splits.items()})

    assert judging_split(card, tmp_path) == judge


def test_without_a_labelled_clip_to_judge_by_there_is_no_pipeline(tmp_path):
    card = write_dataset(tmp_path, {"train": clips(0, 1), "test": clips(None)})

    with pytest.raises(PemtError, match="no labelled clip in a test or validation split"):
        judging_split(card, tmp_path)

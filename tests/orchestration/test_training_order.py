"""What a data set must have before a pipeline is made of it."""

import dataclasses

import pytest

from pemt_tf.errors import PemtError
from pemt_tf.orchestration.nodes.trainer_task import work_folder
from pemt_tf.orchestration.nodes.training_order import judging_split, make_orders
from pipeline.configs import PipelineConfig, TrainerConfig
from tests.pipeline.dataset import OVERRIDES, fake_clip, write_dataset


def clips(*labels):
    return [fake_clip(seed, label) for seed, label in enumerate(labels)]


def config_for(folder, **fields) -> PipelineConfig:
    return PipelineConfig(data=folder, overrides=OVERRIDES, **fields)


def orders_of(config: PipelineConfig, folder):
    return make_orders(
        folder,
        config.training_config(),
        preset=config.preset,
        pretrains=config.pretrains,
        cpu_devices=config.trainer.cpu_devices,
        root=config.root,
        trainers="pipeline.trainer_module",
    )


def test_the_order_says_what_the_card_and_the_configuration_say(tmp_path):
    write_dataset(tmp_path, {"train": clips(0, 1, None), "test": clips(1)})

    order = orders_of(config_for(tmp_path), tmp_path)["finetune"]

    assert (order.labels, order.train_labels) == (["quiet", "loud"], ["quiet", "loud"])
    assert (order.train_clips, order.train_labelled) == (3, 2)
    assert (order.data, order.content_hash, order.cpu_devices) == (str(tmp_path), "4 clips", 1)
    assert (order.stage, order.config["geometry"]["segments"], order.validation_split) == ("finetune", 2, "")
    assert order.to_custom_config()["config"]["model"]["fusion"] == "early"
    assert len(order.code) == 64


def test_other_settings_of_fine_tuning_do_not_pretrain_again(tmp_path):
    write_dataset(tmp_path, {"train": clips(0, 1), "test": clips(1)})

    def orders(*changes, **fields):
        config = PipelineConfig(data=tmp_path, overrides=(*OVERRIDES, *changes), **fields)
        return orders_of(config, tmp_path)

    usual, other = orders(), orders("finetune.head_dropout=0.1")
    assert other["pretrain"] == usual["pretrain"] and other["finetune"] != usual["finetune"]
    assert orders("pretrain.mask_rate=0.3")["pretrain"] != usual["pretrain"]
    assert list(orders(trainer=TrainerConfig(pretrain_steps=0))) == ["finetune"]


def test_a_split_that_is_to_choose_the_weights_must_be_there(tmp_path):
    select = "finetune.select=best_validation"
    write_dataset(tmp_path / "a", {"train": clips(0, 1), "test": clips(1)})
    write_dataset(tmp_path / "b", {"train": clips(0, 1), "test": clips(1), "validation": clips(0)})

    with pytest.raises(PemtError, match="has no split 'validation'"):
        orders_of(PipelineConfig(overrides=(*OVERRIDES, select)), tmp_path / "a")
    orders = orders_of(PipelineConfig(overrides=(*OVERRIDES, select)), tmp_path / "b")
    assert [order.validation_split for order in orders.values()] == ["", "validation"]


def test_records_of_another_form_are_refused(tmp_path):
    card = write_dataset(tmp_path, {"train": clips(0, 1), "test": clips(1)})
    dataclasses.replace(card, payload="sequence_example").write(tmp_path)

    with pytest.raises(PemtError, match="records of the form 'sequence_example'; the pipeline takes 'example'"):
        orders_of(config_for(tmp_path), tmp_path)


def test_a_training_has_a_folder_of_its_own_for_each_result(tmp_path):
    write_dataset(tmp_path, {"train": clips(0, 1), "test": clips(1)})
    orders = orders_of(PipelineConfig(overrides=OVERRIDES, root=tmp_path / "root"), tmp_path)
    order = orders["finetune"]

    usual = work_folder(order, ["/a", "/b"], "/model/3")

    assert usual.parent == tmp_path / "root" / "unfinished" and usual.name.startswith("finetune-")
    assert work_folder(order, ["/b", "/a"], "/model/3") == usual
    others = [
        work_folder(orders["pretrain"], ["/a", "/b"], "/model/3"),
        work_folder(order, ["/a"], "/model/3"),
        work_folder(order, ["/a", "/b"], "/model/4"),
        work_folder(dataclasses.replace(order, content_hash="other"), ["/a", "/b"], "/model/3"),
    ]
    assert len({usual, *others}) == 5


def test_a_data_set_of_another_geometry_is_refused_with_both_values(tmp_path):
    write_dataset(tmp_path, {"train": clips(0, 1), "test": clips(1)})

    with pytest.raises(PemtError, match="segments: 4 here, 2 there"):
        orders_of(PipelineConfig(data=tmp_path), tmp_path)


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
        orders_of(config_for(tmp_path), tmp_path)


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


def test_a_split_that_lost_clips_stops_the_run_before_it_begins(tmp_path):
    write_dataset(tmp_path, {"train": clips(0, 1), "test": clips(1, 0, 1)})
    path = next(path for path in sorted((tmp_path / "test").glob("clips-*")) if path.stat().st_size)
    record = 16 + int.from_bytes(path.read_bytes()[:8], "little")
    path.write_bytes(path.read_bytes()[record:])
    with pytest.raises(PemtError, match="split 'test' holds 2 clips, but its data card says 3"):
        orders_of(config_for(tmp_path), tmp_path)

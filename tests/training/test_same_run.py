"""What may change when a run goes on."""

import pytest

from pemt_tf.training.same_run import differences

RUN = {
    "pretrain.steps": 10, "pretrain.log_every": 1, "pretrain.seed": 0, "pretrain.learning_rate": 0.1,
    "finetune.seed": 0, "model.rank": 3, "data": "a", "data_hash": "ab", "initial": None,
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({}, []),
        ({"pretrain.log_every": 5, "finetune.seed": 9}, []),
        ({"pretrain.steps": 11}, []),
        ({"pretrain.steps": 9}, ["pretrain.steps"]),
        ({"pretrain.learning_rate": 0.2, "model.rank": 4}, ["model.rank", "pretrain.learning_rate"]),
        ({"data": "elsewhere"}, []),
        ({"data": "elsewhere", "data_hash": "cd"}, ["data", "data_hash"]),
        ({"initial": "b", "initial_hash": "12"}, ["initial"]),
        ({"pretrain.new_field": 1}, ["pretrain.new_field"]),
    ],
)
def test_of_pretraining(changes, named):
    assert differences("pretrain", RUN, {**RUN, **changes}) == named


def test_without_hashes_paths_decide():
    old = {"data": "a", "data_hash": "", "initial": "p"}
    assert differences("finetune", old, {**old, "data": "b"}) == ["data"]
    assert differences("finetune", old, {**old, "initial_hash": "12"}) == []  # a run from before there was one
    moved = {**old, "initial_hash": "12"}
    assert differences("finetune", moved, {**moved, "initial": "q"}) == []
    assert differences("finetune", moved, {**moved, "initial_hash": "34"}) == ["initial_hash"]


def test_of_fine_tuning():
    assert differences("finetune", RUN, {**RUN, "pretrain.seed": 4, "pretrain.steps": 1}) == []
    assert differences("finetune", RUN, {**RUN, "finetune.seed": 4}) == ["finetune.seed"]

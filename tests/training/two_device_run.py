"""Run as a program by test_two_devices: trains on two logical CPUs and on one, and reports as JSON.

Splitting the CPU must come before TensorFlow starts, so it cannot be done in the process of the tests.
"""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf

from pemt_tf.config import Config
from pemt_tf.data.clip_source import ClipSource
from pemt_tf.errors import PemtError
from pemt_tf.training import finetune as finetuning
from pemt_tf.training import loop
from pemt_tf.training import pretrain as pretraining
from pemt_tf.training.strategy import make_strategy, split_cpu
from tests.conftest import SMALL
from tests.training.small_cnns import use_small_cnns

QUIET = ["model.attention_dropout=0", "model.hidden_dropout=0", "finetune.head_dropout=0", "model.layers=1"]
ALIGNED = ["pretrain.alignment_weight=0.5"]


def replica_differences(task) -> float:
    """The largest difference between the two copies of any variable of a run."""
    largest = 0.0
    for variable in task.state:
        copies = [np.asarray(copy, np.float64) for copy in variable.value.values]
        assert len(copies) == 2, variable.path
        largest = max(largest, float(np.abs(copies[0] - copies[1]).max(initial=0.0)))
    return largest


def run_and_compare(function, *arguments, **more) -> float:
    """Calls `pretrain` or `finetune` and looks at what it trained when it is done."""
    seen, train = [], loop.train

    def watching(task, run, strategy):
        train(task, run, strategy)
        assert strategy.num_replicas_in_sync == 2
        seen.append(replica_differences(task))

    loop.train = watching
    try:
        function(*arguments, **more)
    finally:
        loop.train = train
    return seen[0]


@contextlib.contextmanager
def one_device():
    """Trains on one of the two."""
    modules, kept = (pretraining, finetuning), pretraining.make_strategy
    for module in modules:
        module.make_strategy = tf.distribute.get_strategy
    yield
    for module in modules:
        module.make_strategy = kept


def refusal(function, *arguments) -> str:
    try:
        function(*arguments)
    except PemtError as error:
        return str(error)
    return ""


def step_differences(one: Path, two: Path) -> dict[str, float]:
    """Largest difference of all variables and optimizer slots after a step."""
    with np.load(one) as a, np.load(two) as b:
        names = [name for name in a.files if name != "notes"]
        assert names == [name for name in b.files if name != "notes"]
        largest = max(float(np.abs(a[n].astype(float) - b[n]).max(initial=0.0)) for n in names)
        changed = sum(bool((a[n] != 0).any()) for n in names)
    return {"largest": largest, "arrays": len(names), "not_zero": changed}


def main(data: str, out: str) -> None:
    split_cpu(2)
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})  # four graphs; saves half a minute
    config = Config.from_dict(SMALL).with_overrides([*QUIET, *ALIGNED])
    source, folder = ClipSource.open(data), Path(out)
    report = {"devices": make_strategy().num_replicas_in_sync}

    every_step = ["steps=2", "checkpoint_every=1", "log_every=1"]
    short = config.with_overrides(
        [f"pretrain.{each}" for each in every_step] + ["finetune.steps=1", "finetune.checkpoint_every=1"]
    )
    gathered = short.with_overrides(["pretrain.gather_negatives=true"])
    report["finetune_replicas_differ"] = run_and_compare(finetuning.finetune, short, source, folder / "two")
    with one_device():
        finetuning.finetune(short, source, folder / "one")

    use_small_cnns()
    report["pretrain_replicas_differ"] = run_and_compare(pretraining.pretrain, short, source, folder / "pretrain")
    pretraining.pretrain(gathered, source, folder / "pretrain_gathered")
    with one_device():
        groups = short.with_overrides(["pretrain.negative_groups=2"])
        pretraining.pretrain(groups, source, folder / "pretrain_one_with_groups")
        pretraining.pretrain(short, source, folder / "pretrain_one")

    report["pretrain_groups"] = refusal(
        pretraining.pretrain, config.with_overrides(["pretrain.negative_groups=1"]), source, folder / "uneven"
    )
    report["pretrain_uneven"] = refusal(
        pretraining.pretrain, config.with_overrides(["pretrain.batch_size=2"]), source, folder / "uneven"
    )
    report["finetune_uneven"] = refusal(
        finetuning.finetune, config.with_overrides(["finetune.batch_size=3"]), source, folder / "uneven"
    )
    report["refused_runs_left_nothing"] = not (folder / "uneven").exists()

    first, second = (f"checkpoints/step-{step:09d}.npz" for step in (1, 2))
    report["step"] = step_differences(folder / "one" / first, folder / "two" / first)
    for name, one, two in (
        ("own", "pretrain_one_with_groups", "pretrain"),
        ("gathered", "pretrain_one", "pretrain_gathered"),
        ("own_or_gathered", "pretrain", "pretrain_gathered"),
    ):
        report[f"pretrain_{name}"] = [
            step_differences(folder / one / step, folder / two / step) for step in (first, second)
        ]
    for run in (path.parent for path in folder.glob("*/metrics.jsonl")):
        lines = (run / "metrics.jsonl").read_text().splitlines()
        report[f"{run.name}_metrics"] = json.loads(lines[-1])
    (folder / "report.json").write_text(json.dumps(report))


if __name__ == "__main__":
    main(*sys.argv[1:])

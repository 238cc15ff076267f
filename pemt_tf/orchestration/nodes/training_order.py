"""What the trainers are told, and which split judges a model. TFX is not needed here."""

from __future__ import annotations

import dataclasses
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pemt_tf.config import Config
from pemt_tf.data.clip_source import ClipSource
from pemt_tf.data.dataset_card import DatasetCard
from pemt_tf.data.record_format import EXAMPLE
from pemt_tf.errors import PemtError
from pemt_tf.orchestration.nodes.imported_code import code_fingerprint

PRETRAIN, FINETUNE = "pretrain", "finetune"
# Modules that the trainers import but that do not decide a stage's result. The order itself is a parameter anyway.
PASSED_OVER = {
    PRETRAIN: ("pemt_tf.orchestration.nodes.training_order", "pemt_tf.training.finetune", "pemt_tf.export.saved_model"),
    FINETUNE: ("pemt_tf.orchestration.nodes.training_order",),
}


@dataclass(frozen=True)
class TrainingOrder:
    """What a trainer is told, except where the records are. TFX caches by it: equal orders, equal models."""

    stage: str  # `pretrain` or `finetune`
    config: dict[str, Any]  # of the model and the training, as nested plain values
    labels: list[str]  # the vocabulary
    train_labels: list[str]  # labels that the training split has
    train_clips: int  # number of clips in the training split
    train_labelled: int  # those of them with a label
    data: str  # the data set's name in messages
    content_hash: str  # of the data set
    cpu_devices: int  # number of devices that the CPU is split into
    validation_split: str  # the split that chooses the weights (`finetune.select`); empty for none
    work: str  # folder of unfinished trainings
    code: str  # fingerprint of all code that the stage runs, including the exported graph's

    def to_custom_config(self) -> dict[str, Any]:
        """Plain values, for the Trainer's `custom_config`."""
        return asdict(self)


def make_orders(
    folder: Path, training: Config, *, preset: str, pretrains: bool, cpu_devices: int, root: Path, trainers: str
) -> dict[str, TrainingOrder]:
    """Makes an order for each stage: `pretrain`, unless it is left out, and `finetune`; checks the data set first.

    `preset` is the name of the one that `training` was made from, `trainers` the module that the trainers run, such as
    `pipeline.trainer_module`.
    """
    source = ClipSource.open(folder)
    source.require_geometry(training.geometry)
    source.require_split("train")
    source.require_known_labels()
    for split in source.files:
        source.require_whole(split)
    if source.payload != EXAMPLE:
        raise PemtError(
            f"{folder} holds records of the form {source.payload!r}; the pipeline takes 'example', what "
            "`python -m beam_jobs.preprocess` writes by default"
        )
    chooser = training.finetune.validation_split if training.finetune.select == "best_validation" else ""
    if chooser:
        source.require_split(chooser)
    # Pretraining does not depend on the settings of fine-tuning: when these change, its result stays valid.
    without = dataclasses.replace(training, finetune=Config.from_preset(preset).finetune)
    configs = {PRETRAIN: without, FINETUNE: training} if pretrains else {FINETUNE: training}
    return {
        stage: TrainingOrder(
            stage=stage,
            config=each.to_dict(),
            labels=list(source.labels),
            train_labels=list(source.train_labels or ()),
            train_clips=source.clips["train"],
            train_labelled=source.labelled["train"],
            data=source.name,
            content_hash=source.content_hash,
            cpu_devices=cpu_devices,
            validation_split=chooser if stage == FINETUNE else "",
            work=str(root / "unfinished"),
            code=code_fingerprint(trainers, PASSED_OVER[stage]),
        )
        for stage, each in configs.items()
    }


def judging_split(card: DatasetCard, folder: Path) -> str:
    """The split that the Evaluator uses: `test`, or `validation` where `test` has no labelled clip."""
    for name in ("test", "validation"):
        if name in card.splits and any(card.splits[name].labels.values()):
            return name
    raise PemtError(
        f"{folder} has no labelled clip in a test or validation split, so no model can be judged; preprocess more "
        "labelled videos, or name their split in a manifest"
    )

"""What the pipeline asks of trainers and Evaluator, as far as the data set decides it; no TFX is needed here."""

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
from pipeline.configs import PipelineConfig

PRETRAIN, FINETUNE = "pretrain", "finetune"
# What does not decide a stage's result, of all that the trainers import. The order itself is a parameter anyway.
PASSED_OVER = {
    PRETRAIN: ("pemt_tf.orchestration.nodes.training_order", "pemt_tf.training.finetune", "pemt_tf.export.saved_model"),
    FINETUNE: ("pemt_tf.orchestration.nodes.training_order",),
}


@dataclass(frozen=True)
class TrainingOrder:
    """What the pipeline tells a trainer, beside where the records are. TFX caches by it: equal orders, equal models.

    Attributes:
        stage: `pretrain` or `finetune`.
        config: of model and training, nested plain values.
        labels: the vocabulary.
        train_labels: labels that the training split has.
        train_clips: how many clips it has, and
        train_labelled: how many of them with a label.
        data: what messages call the data set.
        content_hash: of the data set.
        cpu_devices: into how many devices the CPU is split.
        validation_split: name of the split that chooses the weights (`finetune.select`); empty for none.
        work: folder in which trainings are that did not finish yet.
        code: fingerprint of all code that the stage runs, the exported graph's included.
    """

    stage: str
    config: dict[str, Any]
    labels: list[str]
    train_labels: list[str]
    train_clips: int
    train_labelled: int
    data: str
    content_hash: str
    cpu_devices: int
    validation_split: str
    work: str
    code: str

    def to_custom_config(self) -> dict[str, Any]:
        """Plain values, for the Trainer's `custom_config`."""
        return asdict(self)


def make_orders(config: PipelineConfig, folder: Path) -> dict[str, TrainingOrder]:
    """What the trainers are told, by stage: `pretrain`, unless that is left out, and `finetune`.

    Args:
        config: of the pipeline.
        folder: of the data set.

    Raises:
        PemtError: the data set has another geometry than the preset, labels that training cannot learn, or another
            number of clips than its card says.
    """
    training = config.training_config()
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
    # Pretraining does not know of fine-tuning: other settings there must not pretrain again.
    without = dataclasses.replace(training, finetune=Config.from_preset(config.preset).finetune)
    configs = {PRETRAIN: without, FINETUNE: training} if config.pretrains else {FINETUNE: training}
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
            cpu_devices=config.trainer.cpu_devices,
            validation_split=chooser if stage == FINETUNE else "",
            work=str(config.root / "unfinished"),
            code=code_fingerprint("pipeline.trainer_module", PASSED_OVER[stage]),
        )
        for stage, each in configs.items()
    }


def judging_split(card: DatasetCard, folder: Path) -> str:
    """The split that the Evaluator uses: `test`, or in a small data set `validation`.

    Raises:
        PemtError: neither has a labelled clip.
    """
    for name in ("test", "validation"):
        if name in card.splits and any(card.splits[name].labels.values()):
            return name
    raise PemtError(
        f"{folder} has no labelled clip in a test or validation split, so no model can be judged; preprocess more "
        "labelled videos, or name their split in a manifest"
    )

"""What the pipeline asks of the Trainer and the Evaluator, as far as the data set decides it; no TFX is needed here."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pemt_tf
from pemt_tf.data.clip_source import ClipSource
from pemt_tf.data.dataset_card import DatasetCard
from pemt_tf.errors import PemtError
from pipeline.configs import PipelineConfig

# Parts of pemt_tf that decide what a model becomes; a change in them makes the Trainer run again.
TRAINING_CODE = (
    "config.py", "data", "export/saved_model.py", "features", "layers", "losses", "models", "training",
)  # fmt: skip


@dataclass(frozen=True)
class TrainingOrder:
    """What the pipeline tells the Trainer, beside where the records are. TFX caches by it: equal orders, equal models.

    Attributes:
        config: of model and training, nested plain values.
        pretrains: pretrain first, or start from random weights.
        labels: the vocabulary.
        train_labels: labels that the training split has.
        data: what messages call the data set.
        content_hash: of the data set.
        cpu_devices: into how many devices the CPU is split.
        code: fingerprint of the code that trains.
    """

    config: dict[str, Any]
    pretrains: bool
    labels: list[str]
    train_labels: list[str]
    data: str
    content_hash: str
    cpu_devices: int
    code: str

    def to_custom_config(self) -> dict[str, Any]:
        """Plain values, for the Trainer's `custom_config`."""
        return asdict(self)


def make_order(config: PipelineConfig) -> TrainingOrder:
    """What the Trainer is told.

    Raises:
        PemtError: the data set has another geometry than the preset, or labels that training cannot learn.
    """
    training = config.training_config()
    source = ClipSource.open(config.data_folder)
    source.require_geometry(training.geometry)
    source.require_split("train")
    source.require_known_labels()
    return TrainingOrder(
        config=training.to_dict(),
        pretrains=config.pretrains,
        labels=list(source.labels),
        train_labels=list(source.train_labels or ()),
        data=source.name,
        content_hash=source.content_hash,
        cpu_devices=config.trainer.cpu_devices,
        code=code_fingerprint(),
    )


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


def code_fingerprint() -> str:
    """SHA-256 of the code that trains, part of what the Trainer's cache goes by."""
    package = Path(pemt_tf.__file__).parent
    files = [Path(__file__).with_name("trainer_module.py")]
    for part in TRAINING_CODE:
        path = package / part
        files += sorted(path.rglob("*.py")) if path.is_dir() else [path]
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.name}\n".encode() + file.read_bytes())
    return digest.hexdigest()

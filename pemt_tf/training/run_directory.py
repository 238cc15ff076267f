"""The folder of one training run: what was asked, where it stands, what came out."""

from __future__ import annotations

import contextlib
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from pemt_tf.config import Config, ModelConfig, flat_fields, load_config, save_config
from pemt_tf.errors import PemtError
from pemt_tf.models.av_transformer import AVTransformer
from pemt_tf.models.heads import AVClassifier
from pemt_tf.models.pretraining_model import PretrainingModel
from pemt_tf.strict_json import finite_or_none, json_text

CONFIG = "config.json"
RUN = "run.json"
METRICS = "metrics.jsonl"
BACKBONE = "backbone.weights.h5"
CLASSIFIER = "classifier.weights.h5"
PAIR_CLASSIFIERS = "pair_classifiers.npz"
_BLOCK = 1 << 20
HISTORY = "history"  # field of `run.json`: the trainings that a run began from, see `training_history`
_MAY_CHANGE = ("pretrain.keep", "finetune.keep", HISTORY)  # the rest of a run is the same whatever they are


@dataclass(frozen=True)
class RunDirectory:
    """Paths and small files of a run.

    `config.json` and `run.json` (kind, labels, data) are written first; `metrics.jsonl`, `checkpoints/` and
    `tensorboard/` grow; the weights files are written last, so a run that has them is finished.

    Attributes:
        path: the folder.
        writes: False where several machines train and another one writes; then nothing here does.
    """

    path: Path
    writes: bool = True

    @property
    def checkpoints(self) -> Path:
        """Folder of checkpoints."""
        return self.path / "checkpoints"

    @property
    def tensorboard(self) -> Path:
        """Folder of TensorBoard events."""
        return self.path / "tensorboard"

    @property
    def finished(self) -> bool:
        """Whether the run has its final weights."""
        return (self.path / BACKBONE).is_file()

    def start(self, config: Config, description: dict[str, Any]) -> None:
        """Begins a run, or goes on with the one that is there if it was asked for the same.

        Raises:
            PemtError: the folder holds another run, or cannot be written.
        """
        if (self.path / RUN).is_file():
            self._require_same(config, description)
            return
        if not self.writes:
            return
        with self._writing():
            self.path.mkdir(parents=True, exist_ok=True)
            save_config(config, self.path / CONFIG)
            _write_whole(self.path / RUN, json_text(description, indent=2) + "\n")

    def _require_same(self, config: Config, description: dict[str, Any]) -> None:
        old = {**flat_fields(load_config(self.path / CONFIG).to_dict()), **flat_fields(self.description())}
        new = {**flat_fields(config.to_dict()), **flat_fields(json.loads(json.dumps(description)))}
        names = sorted(n for n in old.keys() | new.keys() if old.get(n) != new.get(n) and n not in _MAY_CHANGE)
        if names:
            shown = "; ".join(f"{name}: {old.get(name)} there, {new.get(name)} asked" for name in names[:5])
            raise PemtError(f"{self.path} holds another run ({shown}); choose another --output or delete it")

    @contextlib.contextmanager
    def _writing(self):
        """Turns a full disk or a read-only folder into a message for people."""
        try:
            yield
        except OSError as error:
            raise PemtError(
                f"cannot write to {self.path}: {error.strerror or error}; free some space, or choose another --output"
            ) from None

    def description(self) -> dict[str, Any]:
        """What `start` was given.

        Raises:
            PemtError: this is no run.
        """
        path = self.path / RUN
        if not path.is_file():
            raise PemtError(
                f"{self.path} is not a training run: it has no {RUN}; give the --output of a training command"
            )
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise PemtError(f"{path} is damaged ({error}); train again into another --output") from None

    def config(self) -> Config:
        """The configuration of the run."""
        self.description()
        return load_config(self.path / CONFIG)

    def append_metrics(self, row: dict[str, float]) -> None:
        """Adds one JSON line; a metric that is not a number is null there."""
        if not self.writes:
            return
        with self._writing(), (self.path / METRICS).open("a", encoding="utf-8") as file:
            file.write(json_text(finite_or_none(row)) + "\n")

    def metrics(self) -> list[dict[str, float]]:
        """All lines so far, without metrics that are null; a line cut short when the run was killed is left out."""
        path = self.path / METRICS
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.is_file() else []
        rows = [json.loads(line) for line in lines if line.endswith("\n")]
        return [{name: value for name, value in row.items() if value is not None} for row in rows]

    def forget_metrics_after(self, step: int) -> None:
        """Drops lines of steps that a resumed run will do again."""
        if not self.writes:
            return
        rows = [row for row in self.metrics() if row["step"] <= step]
        with self._writing():
            _write_whole(self.path / METRICS, "".join(json_text(finite_or_none(row)) + "\n" for row in rows))

    def save_model(self, model: keras.Model) -> None:
        """Writes the final weights: the classifier's, if it is one, and last the backbone's.

        Raises:
            PemtError: they cannot be written; the run stays unfinished and can go on.
        """
        if not self.writes:
            return
        backbone = model if isinstance(model, AVTransformer) else model.backbone
        with self._writing():
            if isinstance(model, AVClassifier):
                _save_weights(model, self.path / CLASSIFIER)
            if isinstance(model, PretrainingModel) and model.pair_classifiers:
                _save_pair_classifiers(model, self.path / PAIR_CLASSIFIERS)
            _save_weights(backbone, self.path / BACKBONE)

    def require_finished(self) -> None:
        """Raises PemtError unless the run has its final weights."""
        self.description()
        if not self.finished:
            raise PemtError(
                f"{self.path} is not finished: it has no {BACKBONE}; run its training command again to go on"
            )

    def load_backbone_into(self, backbone: AVTransformer) -> None:
        """Loads the trained backbone.

        Raises:
            PemtError: the run is not finished or has another model.
        """
        self.require_model(backbone.config)
        backbone.load_weights(self.path / BACKBONE)

    def require_model(self, config: ModelConfig) -> None:
        """Refuses a backbone that cannot take this run's weights; dropout may differ.

        Raises:
            PemtError: the run is not finished or has another model.
        """
        self.require_finished()
        mine, theirs = asdict(config), asdict(self.config().model)
        names = [name for name in mine if not name.endswith(("dropout", "_std")) and mine[name] != theirs[name]]
        if names:
            shown = "; ".join(f"{name}: {theirs[name]} there, {mine[name]} here" for name in names)
            raise PemtError(f"{self.path} was trained with another model ({shown})")

    def load_classifier(self) -> tuple[AVClassifier, tuple[str, ...]]:
        """The trained classifier and its labels.

        Raises:
            PemtError: the run is no finished fine-tuning run.
        """
        self.require_finished()
        labels = tuple(self.description().get("labels") or ())
        if not (self.path / CLASSIFIER).is_file():
            raise PemtError(f"{self.path} holds no classifier; give the --output of `pemt finetune`")
        config = self.config()
        model = AVClassifier(
            config.model, len(labels), config.finetune.head_dropout, config.finetune.streams, name="classifier"
        )
        model.build()
        model.load_weights(self.path / CLASSIFIER)
        return model, labels

    def load_backbone(self) -> AVTransformer:
        """The trained backbone."""
        self.require_finished()
        backbone = AVTransformer(self.config().model, name="backbone")
        backbone.build()
        backbone.load_weights(self.path / BACKBONE)
        return backbone


def _save_weights(model: keras.Model, path: Path) -> None:
    partial = path.with_name(f"partial.{path.name}")  # Keras insists on the suffix
    try:
        _reserve(partial, sum(math.prod(v.shape) * 4 + 8192 for v in model.variables))
        model.save_weights(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _save_pair_classifiers(model: PretrainingModel, path: Path) -> None:
    """Few numbers, which `pemt probe` takes to ask which sound belongs to which pictures."""
    partial = path.with_name(f"partial.{path.name}")
    weights = {
        f"{stage}/{layer.name}/{variable.name}": keras.ops.convert_to_numpy(variable)
        for stage, classifier in model.pair_classifiers.items()
        for layer in (classifier.inner, classifier.outer)
        for variable in layer.weights
    }
    try:
        with partial.open("wb") as file:
            np.savez(file, **weights)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _reserve(path: Path, size: int) -> None:
    """Fills a file with zeros: on a full disk this fails cleanly, whereas HDF5 crashes when the program ends."""
    with path.open("wb") as file:
        for start in range(0, size, _BLOCK):
            file.write(bytes(min(_BLOCK, size - start)))


def _write_whole(path: Path, text: str) -> None:
    partial = path.with_name(f"partial.{path.name}")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)

"""The folder of one training run: its configuration, its progress and its results."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras

from pemt_tf.config import Config, ModelConfig, flat_fields, load_config, save_config
from pemt_tf.errors import PemtError
from pemt_tf.files.folder_lock import LockHeldError, lock
from pemt_tf.files.strict_json import finite_or_none, json_text
from pemt_tf.files.whole_file import whole_file
from pemt_tf.losses.audio_visual_alignment import AlignedSpace
from pemt_tf.models.av_transformer import AVTransformer
from pemt_tf.models.heads import AVClassifier
from pemt_tf.models.preset_folder import BACKBONE, CONFIG
from pemt_tf.models.pretraining_model import PretrainingModel
from pemt_tf.models.weight_files import (
    load_aligned_space,
    load_weights,
    save_aligned_space,
    save_pair_classifiers,
    save_weights,
)
from pemt_tf.training.checkpoint import checkpoint_name
from pemt_tf.training.same_run import differences

RUN = "run.json"
METRICS = "metrics.jsonl"
CLASSIFIER = "classifier.weights.h5"
PAIR_CLASSIFIERS = "pair_classifiers.npz"
ALIGNED_SPACE = "aligned_space.npz"
LOCK = "run.lock"


@dataclass(frozen=True)
class RunDirectory:
    """Paths and small files of a run.

    `config.json` and `run.json` (kind, labels, data) are written first; `metrics.jsonl`, `checkpoints/` and
    `tensorboard/` grow; the weights files are written last, so a run that has them is finished. During training
    `run.lock` names the process.

    Attributes:
        path: the folder.
        writes: False where several machines train and another one writes; then nothing is written here.
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

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Locks the folder within the block; raises PemtError if another training runs in it."""
        with contextlib.ExitStack() as stack:
            if self.writes and not (self.finished and not os.access(self.path, os.W_OK)):
                try:
                    with self._writing():
                        self.path.mkdir(parents=True, exist_ok=True)
                        stack.enter_context(lock(self.path / LOCK))
                except LockHeldError as holder:
                    raise PemtError(
                        f"another training is under way in {self.path} ({holder}); wait for its end, or choose another "
                        "--output"
                    ) from None
            yield

    def start(self, config: Config, description: dict[str, Any]) -> bool:
        """Begins a run, or continues the run in the folder if it has the same settings, perhaps with more steps.

        Returns:
            Whether there is anything left to do.

        Raises:
            PemtError: the folder holds another run, or cannot be written.
        """
        if (self.path / RUN).is_file():
            kind = description["kind"]
            old = {**flat_fields(self.config().to_dict()), **flat_fields(self.description())}
            new = {**flat_fields(config.to_dict()), **flat_fields(json.loads(json.dumps(description)))}
            differ = differences(kind, old, new)
            if differ:
                shown = "; ".join(f"{name}: {old.get(name)} there, {new.get(name)} asked" for name in differ[:5])
                raise PemtError(
                    f"{self.path} holds another run ({shown}); choose another --output or delete it"
                    + (f". {kind}.steps may grow, but not fall" if f"{kind}.steps" in differ else "")
                )
            more = old.get(f"{kind}.steps") != new.get(f"{kind}.steps")
            if self.finished and not more:
                return False
            if self.finished:
                self._reopen(old[f"{kind}.steps"])
            if old == new:
                return True
        if not self.writes:
            return True
        with self._writing():
            self.path.mkdir(parents=True, exist_ok=True)
            save_config(config, self.path / CONFIG)
            with whole_file(self.path / RUN) as partial:
                partial.write_text(json_text(description, indent=2) + "\n", encoding="utf-8")
        return True

    def _reopen(self, steps: int) -> None:
        """Moves the results of the final weights into a sub-folder, which is itself a finished run."""
        if not (self.checkpoints / checkpoint_name(steps)).is_file():
            raise PemtError(
                f"{self.path} is finished and cannot continue: its checkpoint of step {steps} is gone; begin another "
                "run with --init, which takes its weights"
            )
        if not self.writes:
            return
        with self._writing():
            kept = self.path / f"until-step-{steps}"
            kept.mkdir(exist_ok=True)
            files = [path for path in self.path.iterdir() if path.is_file() and path.name not in (LOCK, BACKBONE)]
            for path in files:
                shutil.copyfile(path, kept / path.name)
                if path.name not in (CONFIG, RUN, METRICS):
                    path.unlink()
            (self.path / BACKBONE).replace(kept / BACKBONE)  # last: from here on the run is not finished

    def say_finished(self) -> None:
        """Tells the user that there is nothing to do, and how to train further."""
        kind = self.description()["kind"]
        steps = getattr(self.config(), kind).steps
        line = (
            f"{self.path} is finished: it has its {steps} steps, and nothing is left to do; more steps: "
            f"--set {kind}.steps=N, another run: another --output"
        )
        sys.stderr.write(line + "\n")

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Turns the errors of a full disk or a read-only folder into a PemtError."""
        try:
            yield
        except OSError as error:
            raise PemtError(
                f"cannot write to {self.path}: {error.strerror or error}; free some space, or choose another --output"
            ) from None

    def description(self) -> dict[str, Any]:
        """The content of `run.json`; raises PemtError if the folder is not a run."""
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
        """Adds one JSON line; NaN and infinity become null."""
        if not self.writes:
            return
        with self._writing(), (self.path / METRICS).open("a", encoding="utf-8") as file:
            file.write(json_text(finite_or_none(row)) + "\n")

    def metrics(self) -> list[dict[str, float]]:
        """All lines so far, without metrics that are null, and without a line that was cut short by a kill."""
        path = self.path / METRICS
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.is_file() else []
        rows = [json.loads(line) for line in lines if line.endswith("\n")]
        return [{name: value for name, value in row.items() if value is not None} for row in rows]

    def forget_metrics_after(self, step: int) -> None:
        """Deletes lines of steps that a resumed run will repeat."""
        if not self.writes:
            return
        rows = [row for row in self.metrics() if row["step"] <= step]
        with self._writing(), whole_file(self.path / METRICS) as partial:
            partial.write_text("".join(json_text(finite_or_none(row)) + "\n" for row in rows), encoding="utf-8")

    def save_model(self, model: keras.Model) -> None:
        """Writes the final weights: those of the classifier, if there is one, and last those of the backbone.

        Raises:
            PemtError: they cannot be written; the run stays unfinished and can be continued.
        """
        if not self.writes:
            return
        backbone = model if isinstance(model, AVTransformer) else model.backbone
        with self._writing():
            if isinstance(model, AVClassifier):
                save_weights(model, self.path / CLASSIFIER)
            if isinstance(model, PretrainingModel) and model.pair_classifiers:
                save_pair_classifiers(model, self.path / PAIR_CLASSIFIERS)
            if isinstance(model, PretrainingModel) and model.aligned_space is not None:
                save_aligned_space(model.aligned_space, self.path / ALIGNED_SPACE)
            save_weights(backbone, self.path / BACKBONE)

    def weights_hash(self) -> str:
        """SHA-256 of the backbone's final weights."""
        self.require_finished()
        digest = hashlib.sha256()
        with (self.path / BACKBONE).open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
        return digest.hexdigest()

    def require_finished(self) -> None:
        """Raises PemtError unless the run has its final weights."""
        self.description()
        if not self.finished:
            raise PemtError(
                f"{self.path} is not finished: it has no {BACKBONE}; run its training command again to continue"
            )

    def load_backbone_into(self, backbone: AVTransformer) -> None:
        """Loads the trained weights; raises PemtError if the run is not finished or has another model."""
        self.require_model(backbone.config)
        load_weights(backbone, self.path / BACKBONE)

    def require_model(self, config: ModelConfig) -> None:
        """Raises PemtError if the run is not finished or its weights do not fit a model; dropout may differ."""
        self.require_finished()
        mine, theirs = asdict(config), asdict(self.config().model)
        names = [name for name in mine if not name.endswith(("dropout", "_std")) and mine[name] != theirs[name]]
        if names:
            shown = "; ".join(f"{name}: {theirs[name]} there, {mine[name]} here" for name in names)
            raise PemtError(f"{self.path} was trained with another model ({shown})")

    def load_classifier(self) -> tuple[AVClassifier, tuple[str, ...]]:
        """The trained classifier and its labels; raises PemtError unless this is a finished fine-tuning run."""
        self.require_finished()
        labels = tuple(self.description().get("labels") or ())
        if not (self.path / CLASSIFIER).is_file():
            raise PemtError(f"{self.path} holds no classifier; give the --output of `pemt finetune`")
        model = make_classifier(self.config(), len(labels))
        load_weights(model, self.path / CLASSIFIER)
        return model, labels

    def load_model(self) -> tuple[AVClassifier | AVTransformer, tuple[str, ...]]:
        """The trained classifier and its labels; of a run without one, the backbone and no labels."""
        if (self.path / CLASSIFIER).is_file():
            return self.load_classifier()
        return self.load_backbone(), ()

    def load_aligned_space(self) -> AlignedSpace | None:
        """The space in which frames and audio of the backbone can be compared; None if the run has none."""
        self.require_finished()
        path = self.path / ALIGNED_SPACE
        return load_aligned_space(path) if path.is_file() else None

    def keep_aligned_space(self, initial: RunDirectory, same_backbone: bool) -> None:
        """Takes over the aligned space of the run that this one starts from, if the backbone stays as it was there.

        A space belongs to its backbone: one that is trained further moves away from it. Then the space is left out,
        and a line on standard error says so.
        """
        source = initial.path / ALIGNED_SPACE
        if not source.is_file() or not self.writes:
            return
        if same_backbone:
            with self._writing(), whole_file(self.path / ALIGNED_SPACE) as partial:
                shutil.copyfile(source, partial)
            return
        sys.stderr.write(
            f"note: the aligned space of {initial.path} is left out, because its backbone is trained further; for "
            "search across modalities use that run, or freeze the backbone\n"
        )

    def load_backbone(self) -> AVTransformer:
        """The trained backbone."""
        self.require_finished()
        backbone = AVTransformer(self.config().model, name="backbone")
        backbone.build()
        load_weights(backbone, self.path / BACKBONE)
        return backbone


def make_classifier(config: Config, classes: int, policy: keras.DTypePolicy | None = None) -> AVClassifier:
    """A built classifier with random weights."""
    settings = config.finetune
    model = AVClassifier(
        config.model, classes, settings.head_dropout, settings.streams, settings.labels, dtype=policy, name="classifier"
    )
    model.build()
    return model

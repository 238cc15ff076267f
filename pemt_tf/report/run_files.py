"""Reads the files that commands wrote to a run's folder. Everything but the run itself may be missing."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pemt_tf.config import Config
from pemt_tf.errors import PemtError
from pemt_tf.files.strict_json import read_json
from pemt_tf.report.contents import Series
from pemt_tf.report.metrics_file import read_metrics
from pemt_tf.report.several_tables import FIELDS as SEVERAL_FIELDS
from pemt_tf.report.several_tables import is_several
from pemt_tf.training.run_directory import METRICS, RunDirectory

SPLIT_ORDER = ("test", "validation", "train")
# Fields that the evaluations of every release have; others are shown where they exist.
EVALUATION_FIELDS = ("split", "labels", "clips", "accuracy", "interval", "confusion")
KINDS = {"pretrain": "Pretraining", "finetune": "Fine-tuning", "convert": "Converted"}


@dataclass(frozen=True)
class RunFiles:
    """A run and its results."""

    run: RunDirectory
    description: dict[str, Any]  # `run.json`
    config: Config  # `config.json`
    metrics: dict[str, Series] = field(default_factory=dict)  # empty before the first log line
    evaluations: dict[str, dict[str, Any]] = field(default_factory=dict)  # by split, the test split first
    probes: dict[str, dict[str, Any]] = field(default_factory=dict)  # by split

    @classmethod
    def read(cls, path: Path) -> RunFiles:
        """Reads the folder of a run, finished or not; raises PemtError if it is none, or a file is damaged."""
        run = RunDirectory(path)
        description = run.description()
        metrics = path / METRICS
        return cls(
            run,
            description,
            run.config(),
            read_metrics(metrics, leave_out=("step",)) if metrics.is_file() else {},
            _by_split(path, "evaluation", EVALUATION_FIELDS),
            _by_split(path, "probe", ()),
        )

    @property
    def kind(self) -> str:
        """`pretrain`, `finetune` or `convert`."""
        return str(self.description.get("kind", ""))

    @property
    def kind_name(self) -> str:
        """The kind in words."""
        return KINDS.get(self.kind, "Training")

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.run.path.resolve().name

    @property
    def steps_asked(self) -> int:
        """Steps of the whole training; 0 if there is none."""
        settings = {"pretrain": self.config.pretrain, "finetune": self.config.finetune}.get(self.kind)
        return settings.steps if settings else 0

    @property
    def steps_done(self) -> int:
        """The last step that was logged."""
        return max((series.steps[-1] for series in self.metrics.values() if series.steps), default=0)

    @property
    def evaluation(self) -> dict[str, Any] | None:
        """The evaluation that the report is about: that of the test split, or else the first one."""
        return next(iter(self.evaluations.values()), None)


def _by_split(folder: Path, what: str, fields: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    found = {}
    for path in folder.glob(f"{what}-*.json"):
        found[path.stem.removeprefix(f"{what}-")] = _read_object(path, what, fields)
    order = {split: place for place, split in enumerate(SPLIT_ORDER)}
    return dict(sorted(found.items(), key=lambda item: (order.get(item[0], len(order)), item[0])))


def _read_object(path: Path, what: str, fields: tuple[str, ...]) -> dict[str, Any]:
    command = "evaluate" if what == "evaluation" else what
    try:
        values = read_json(path.read_text(encoding="utf-8"))
        fields = SEVERAL_FIELDS if fields and is_several(values) else fields
        absent = [name for name in fields if name not in values]
    except (OSError, ValueError, TypeError) as error:
        raise PemtError(f"cannot read {path}: {error}; run `pemt {command}` again, or delete the file") from None
    if absent or not isinstance(values, dict):
        raise PemtError(
            f"{path} has no field {absent[0] if absent else what!r}; run `pemt {command}` again, or delete the file"
        )
    return values

"""The pipeline's settings: the fields of config.yaml, their defaults, and what their values may be.

Each field can also be set by an environment variable: `PEMT_PIPELINE_TRAINER_FINETUNE_STEPS`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pemt_tf.config import Config
from pemt_tf.errors import PemtError
from pemt_tf.orchestration.settings import DEFAULT_ROOT, VARIABLE_PREFIX, load_settings, require

DEFAULT_FILE = Path(__file__).with_name("config.yaml")
INFRA_CHECKS = ("auto", "cpp", "python", "off")


@dataclass(frozen=True)
class TrainerConfig:
    """What Pretrainer and Finetuner do.

    Attributes:
        pretrain_steps: optimizer steps without labels; 0 starts from random weights, None takes the preset's.
        finetune_steps: optimizer steps with labels; None takes the preset's.
        cpu_devices: number of devices that the CPU is split into, to try data parallelism without GPUs.
    """

    pretrain_steps: int | None = None
    finetune_steps: int | None = None
    cpu_devices: int = 1


@dataclass(frozen=True)
class EvaluatorConfig:
    """What a model must reach to be pushed; shares of the held-out labelled clips, 0 to 1.

    Attributes:
        accuracy_at_least: lowest accuracy (top-1).
        accuracy_may_drop: largest accepted drop from the last blessed model's accuracy.
        top5_at_least: lowest share of clips whose label is among the five most probable; 0 is off.
        slice_accuracy_at_least: lowest accuracy in every slice; 0 is off.
        slice_accuracy_may_drop: largest accepted drop in a slice from the last blessed model's accuracy; 1 is off.
        map_at_least: with several labels a clip (`finetune.labels=multiple`), lowest mean average precision. The other
            thresholds on it and on the AUC are for several labels too, and those above for one.
        map_may_drop: largest accepted drop from the last blessed model's mean average precision.
        auc_at_least: lowest mean AUC; 0 is off.
        slice_map_at_least: lowest mean average precision in every slice; 0 is off.
        slice_map_may_drop: largest accepted drop in a slice from the last blessed model's; 1 is off.
        slice_clips_at_least: smallest slice, in clips, that is shown and judged.
        compare_with_last: compare with the last blessed model; without it the thresholds on drops do not count.
    """

    accuracy_at_least: float = 0.5
    accuracy_may_drop: float = 0.02
    top5_at_least: float = 0.0
    slice_accuracy_at_least: float = 0.0
    slice_accuracy_may_drop: float = 1.0
    slice_clips_at_least: int = 10
    compare_with_last: bool = True
    map_at_least: float = 0.1
    map_may_drop: float = 0.02
    auc_at_least: float = 0.0
    slice_map_at_least: float = 0.0
    slice_map_may_drop: float = 1.0


@dataclass(frozen=True)
class NodeBeamConfig:
    """Apache Beam options of single nodes, which replace `beam_arguments`; None keeps those."""

    import_example_gen: tuple[str, ...] | None = None
    statistics_gen: tuple[str, ...] | None = None
    data_gate: tuple[str, ...] | None = None
    evaluator: tuple[str, ...] | None = None


@dataclass(frozen=True)
class KubeflowConfig:
    """What compiling for Kubeflow Pipelines and Vertex AI needs in addition.

    Attributes:
        image: container image of every node; it holds pemt-tf and the package `pipeline`.
        root: folder of artefacts as the cluster sees it, such as `gs://bucket/pemt`.
        output: file of the compiled pipeline; None is `NAME.json` in the pipeline's root.
    """

    image: str = ""
    root: str = ""
    output: Path | None = None


@dataclass(frozen=True)
class PipelineConfig:
    """All settings of the pipeline.

    Attributes:
        name: name of the pipeline, in the metadata and for the `tfx` commands.
        data: folder written by `python -m beam_jobs.preprocess`; with `{SPAN}` or `{YYYY}`, `{MM}` and `{DD}`, and
            `{VERSION}`, the newest folder that fits, see `pemt_tf.orchestration.running.data_spans`.
        root: folder of everything that the pipeline writes.
        push: folder of pushed versions; None is `root/serving`.
        cache: whether to reuse results of earlier runs with the same inputs and settings.
        preset: name of a preset, or a YAML file.
        overrides: `section.field=value` changes to the preset.
        beam_arguments: Apache Beam options of the nodes that run on Beam.
        infra_check: what loads a model before it is pushed: `cpp`, the loader of TF Serving; `python`; `auto`, which
            is `cpp` where there is a C++ compiler and `python` elsewhere; or `off`.
        beam_of: Beam options of single nodes.
        trainer: settings of the trainers.
        evaluator: thresholds of the Evaluator.
        kubeflow: settings of the compiler for Kubeflow.
    """

    name: str = "pemt"
    data: Path | None = None
    root: Path = DEFAULT_ROOT
    push: Path | None = None
    cache: bool = True
    preset: str = "tiny"
    overrides: tuple[str, ...] = ()
    beam_arguments: tuple[str, ...] = ("--runner=FnApiRunner",)
    infra_check: str = "auto"
    beam_of: NodeBeamConfig = field(default_factory=NodeBeamConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    evaluator: EvaluatorConfig = field(default_factory=EvaluatorConfig)
    kubeflow: KubeflowConfig = field(default_factory=KubeflowConfig)

    def __post_init__(self) -> None:
        trainer, evaluator = self.trainer, self.evaluator
        require(bool(re.fullmatch(r"[\w.-]+", self.name)), "name", self.name, "letters, digits, '_', '.' and '-'")
        require((trainer.pretrain_steps or 0) >= 0, "trainer.pretrain_steps", trainer.pretrain_steps, "0 or more")
        steps = trainer.finetune_steps
        require(steps is None or steps >= 1, "trainer.finetune_steps", steps, "1 or more")
        require(trainer.cpu_devices >= 1, "trainer.cpu_devices", trainer.cpu_devices, "1 or more")
        require(self.infra_check in INFRA_CHECKS, "infra_check", self.infra_check, ", ".join(INFRA_CHECKS))
        least = evaluator.slice_clips_at_least
        require(least >= 1, "evaluator.slice_clips_at_least", least, "1 or more")
        for name, value in vars(evaluator).items():
            if isinstance(value, float):
                require(0 <= value <= 1, f"evaluator.{name}", value, "a share from 0 to 1")

    @classmethod
    def load(cls, environment: Mapping[str, str] = os.environ) -> PipelineConfig:
        """Reads config.yaml (or the file that `PEMT_PIPELINE_CONFIG` names), then the environment.

        Raises:
            PemtError: the file is missing or unreadable, a field is unknown, or a value is not allowed.
        """
        return load_settings(cls, DEFAULT_FILE, environment)

    @property
    def data_folder(self) -> Path:
        """The data set's folder; it may hold placeholders.

        Raises:
            PemtError: it is not set.
        """
        if self.data is None:
            raise PemtError(
                f"the pipeline has no data: set {VARIABLE_PREFIX}DATA, or `data` in its YAML file, to a folder written "
                "by `python -m beam_jobs.preprocess`"
            )
        return self.data

    @property
    def push_folder(self) -> Path:
        """Where blessed models go."""
        return self.push or self.root / "serving"

    @property
    def metadata_file(self) -> Path:
        """The ML Metadata database."""
        return self.root / "metadata.sqlite"

    @property
    def pretrains(self) -> bool:
        """Whether there is a Pretrainer before the Finetuner."""
        return self.trainer.pretrain_steps != 0

    def training_config(self) -> Config:
        """The preset with this pipeline's changes.

        Raises:
            PemtError: the preset or a change is not valid.
        """
        steps = {"pretrain.steps": self.trainer.pretrain_steps, "finetune.steps": self.trainer.finetune_steps}
        given = [f"{name}={value}" for name, value in steps.items() if value]
        return Config.from_preset(self.preset).with_overrides([*self.overrides, *given])

"""The pipeline's configuration: one YAML file, each field of which an environment variable can override.

Engines start a pipeline file without arguments, so that a file and the environment are the only ways in.
"""

from __future__ import annotations

import dataclasses
import os
import re
import shlex
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pemt_tf.config import Config
from pemt_tf.config.yaml_reader import parse_yaml, read_yaml
from pemt_tf.errors import PemtError

DEFAULT_FILE = Path(__file__).with_name("config.yaml")
VARIABLE_PREFIX = "PEMT_PIPELINE_"
FILE_VARIABLE = f"{VARIABLE_PREFIX}CONFIG"
INFRA_CHECKS = ("auto", "cpp", "python", "off")

_EXPECTED = {
    "str": "text",
    "Path": "a path",
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "tuple": "a list of words",
}


@dataclass(frozen=True)
class TrainerConfig:
    """What Pretrainer and Finetuner do.

    Attributes:
        pretrain_steps: optimizer steps without labels; 0 starts from random weights, None takes the preset's.
        finetune_steps: optimizer steps with labels; None takes the preset's.
        cpu_devices: into how many devices the CPU is split, to try data parallelism without GPUs.
    """

    pretrain_steps: int | None = None
    finetune_steps: int | None = None
    cpu_devices: int = 1


@dataclass(frozen=True)
class EvaluatorConfig:
    """What a model must reach to be pushed; shares of the held-out labelled clips, 0 to 1.

    Attributes:
        accuracy_at_least: least accuracy (top-1).
        accuracy_may_drop: how much less than the last blessed model's accuracy is still accepted.
        top5_at_least: least share of clips whose label is among the five most probable; 0 is off.
        slice_accuracy_at_least: least accuracy in every slice; 0 is off.
        slice_accuracy_may_drop: how much less than the last blessed model's accuracy is accepted in a slice; 1 is off.
        slice_clips_at_least: slices of fewer clips are neither shown nor judged.
        compare_with_last: compare with the last blessed model; without it the thresholds on drops do not count.
    """

    accuracy_at_least: float = 0.5
    accuracy_may_drop: float = 0.02
    top5_at_least: float = 0.0
    slice_accuracy_at_least: float = 0.0
    slice_accuracy_may_drop: float = 1.0
    slice_clips_at_least: int = 10
    compare_with_last: bool = True


@dataclass(frozen=True)
class NodeBeamConfig:
    """Options of Apache Beam for single nodes, in the place of `beam_arguments`; None takes those."""

    import_example_gen: tuple[str, ...] | None = None
    statistics_gen: tuple[str, ...] | None = None
    data_gate: tuple[str, ...] | None = None
    evaluator: tuple[str, ...] | None = None


@dataclass(frozen=True)
class KubeflowConfig:
    """What compiling for Kubeflow Pipelines and Vertex AI needs besides.

    Attributes:
        image: container image that holds this package, for every node.
        root: folder of artefacts as the cluster sees it, as `gs://bucket/pemt`.
        output: the compiled pipeline; None is `root/NAME.json` of the pipeline's own root.
    """

    image: str = ""
    root: str = ""
    output: Path | None = None


@dataclass(frozen=True)
class PipelineConfig:
    """Everything that defines the pipeline.

    Attributes:
        name: of the pipeline, in the metadata and for the `tfx` commands.
        data: folder written by `python -m beam_jobs.preprocess`; with `{SPAN}` or `{YYYY}`, `{MM}` and `{DD}`, and
            `{VERSION}`, the newest one of those that fit, see `pemt_tf.orchestration.running.data_spans`.
        root: folder of everything that the pipeline writes.
        push: folder of pushed versions; None is `root/serving`.
        cache: take over results of earlier runs whose inputs and settings are the same.
        preset: name of a preset, or a YAML file.
        overrides: `section.field=value` changes to the preset.
        beam_arguments: options of Apache Beam for the nodes that run on it.
        infra_check: what loads a model before it is pushed: `cpp`, the loader of TF Serving; `python`; `auto`, which
            is `cpp` where a C++ compiler is and `python` elsewhere; or `off`.
        beam_of, trainer, evaluator, kubeflow: see there.
    """

    name: str = "pemt"
    data: Path | None = None
    root: Path = Path("~/tfx/pemt")
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
        _require(bool(re.fullmatch(r"[\w.-]+", self.name)), "name", self.name, "letters, digits, '_', '.' and '-'")
        _require((trainer.pretrain_steps or 0) >= 0, "trainer.pretrain_steps", trainer.pretrain_steps, "0 or more")
        steps = trainer.finetune_steps
        _require(steps is None or steps >= 1, "trainer.finetune_steps", steps, "1 or more")
        _require(trainer.cpu_devices >= 1, "trainer.cpu_devices", trainer.cpu_devices, "1 or more")
        _require(self.infra_check in INFRA_CHECKS, "infra_check", self.infra_check, ", ".join(INFRA_CHECKS))
        least = evaluator.slice_clips_at_least
        _require(least >= 1, "evaluator.slice_clips_at_least", least, "1 or more")
        for name, value in vars(evaluator).items():
            if isinstance(value, float):
                _require(0 <= value <= 1, f"evaluator.{name}", value, "a share from 0 to 1")

    @classmethod
    def load(cls, environment: Mapping[str, str] = os.environ) -> PipelineConfig:
        """Reads the file (`PEMT_PIPELINE_CONFIG`, or the one beside this module), then the environment.

        Raises:
            PemtError: the file is missing or not readable, a field is unknown or has a value of the wrong kind.
        """
        path = Path(environment.get(FILE_VARIABLE) or DEFAULT_FILE).expanduser()
        config = _build(cls, read_yaml(path, "the pipeline configuration"), str(path), _variables(environment))
        kubeflow = dataclasses.replace(config.kubeflow, output=_absolute(config.kubeflow.output))
        return dataclasses.replace(config, root=_absolute(config.root), push=_absolute(config.push), kubeflow=kubeflow)

    @property
    def data_folder(self) -> Path:
        """The data set's folder, absolute; it may hold placeholders.

        Raises:
            PemtError: it is not set.
        """
        if self.data is None:
            raise PemtError(
                f"the pipeline has no data: set {VARIABLE_PREFIX}DATA, or `data` in its YAML file, to a folder written "
                "by `python -m beam_jobs.preprocess`"
            )
        return _absolute(self.data)

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


def _require(condition: bool, name: str, value: object, allowed: str) -> None:
    if not condition:
        raise PemtError(f"pipeline configuration field {name} is {value!r}; allowed: {allowed}")


def _absolute(path: Path | None) -> Path | None:
    """Engines run nodes in processes and folders of their own, where a relative path would mean another place."""
    return None if path is None else Path(os.path.abspath(path.expanduser()))  # noqa: PTH100 (keeps links)


def _variables(environment: Mapping[str, str]) -> dict[str, str]:
    """The pipeline's variables that are set; an unknown one is most likely a spelling mistake.

    Two underscores mean the same as one, for those who like to see where a section ends.
    """
    known = {FILE_VARIABLE} | {VARIABLE_PREFIX + name.upper().replace(".", "_") for name in field_names()}
    found: dict[str, str] = {}
    for given, text in sorted(environment.items()):
        if not given.startswith(VARIABLE_PREFIX) or not text:
            continue
        name = given.replace("__", "_")
        if name not in known:
            raise PemtError(f"environment variable {given} is not known; known: {', '.join(sorted(known))}")
        if found.setdefault(name, text) != text:
            raise PemtError(f"{name} is set twice, with one and with two underscores, to different values")
    return found


def field_names(kind: type = PipelineConfig, prefix: str = "") -> list[str]:
    """Paths of all fields, as `trainer.cpu_devices`."""
    names = []
    for name, hint in typing.get_type_hints(kind).items():
        names += field_names(hint, f"{prefix}{name}.") if dataclasses.is_dataclass(hint) else [prefix + name]
    return names


def _build(kind: type, values: dict[str, Any], source: str, variables: dict[str, str], prefix: str = "") -> Any:
    hints = typing.get_type_hints(kind)
    unknown = sorted(set(values) - set(hints), key=str)
    if unknown:
        raise PemtError(f"{source} has an unknown field {prefix}{unknown[0]}; known: {', '.join(hints)}")
    built = {}
    for name, hint in hints.items():
        path, value = prefix + name, values.get(name)
        if dataclasses.is_dataclass(hint):
            if not isinstance(value or {}, dict):
                raise PemtError(f"{source}: {path} is {value!r}; it needs fields of its own")
            built[name] = _build(hint, value or {}, source, variables, f"{path}.")
            continue
        variable = VARIABLE_PREFIX + path.upper().replace(".", "_")
        given, where = (variables[variable], variable) if variable in variables else (value, f"{source}: {path}")
        if given is not None:
            built[name] = _convert(given, hint, where, from_text=variable in variables)
    return kind(**built)


def _convert(value: Any, hint: Any, where: str, from_text: bool) -> Any:
    """Turns a YAML value, or the text of a variable, into a field's type; None only where the field may be empty."""
    options = [option for option in typing.get_args(hint) if option is not type(None)]
    wanted = hint if typing.get_origin(hint) is tuple or not options else options[0]
    kind = "tuple" if typing.get_origin(wanted) is tuple else wanted.__name__
    given = value
    try:
        if from_text and kind == "tuple":
            return tuple(shlex.split(value))
        if from_text and kind in ("bool", "int", "float"):
            value = parse_yaml(value, where)
        if value is None and type(None) in typing.get_args(hint):
            return None
        if kind == "tuple" and isinstance(value, list) and not any(isinstance(v, (list, dict)) for v in value):
            return tuple(map(str, value))
        if kind in ("str", "Path") and isinstance(value, (str, int, float)) and not isinstance(value, bool):
            return wanted(str(value))
        if kind == "float" and isinstance(value, (int, float, str)) and not isinstance(value, bool):
            return float(value)
        if isinstance(value, bool) == (kind == "bool") and isinstance(value, wanted):
            return value
    except (ValueError, TypeError, OverflowError, PemtError):
        pass
    raise PemtError(f"{where} is {given!r}; {_EXPECTED[kind]} is needed")

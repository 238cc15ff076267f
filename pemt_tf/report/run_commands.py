"""The commands behind a run, restored from what the run recorded, as a user would type them."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any, NamedTuple

from pemt_tf.config import Config, flat_fields, preset_names
from pemt_tf.config.yaml_reader import parse_yaml
from pemt_tf.data.dataset_card import CARD_NAME, DatasetCard
from pemt_tf.errors import PemtError
from pemt_tf.report.run_files import RunFiles
from pemt_tf.training.run_directory import RUN

# Recorded settings of `pemt probe` that are flags of the same name, and their defaults.
PROBE = {"train_split": "train", "features": "pooled", "labels_per_class": None, "seed": 0, "gallery": 1000}
DATA = "DATA"  # stands for a path that the run does not know


class Change(NamedTuple):
    """A field of the configuration that differs from the preset."""

    name: str
    preset: Any
    run: Any


def preset_changes(config: Config) -> list[Change] | None:
    """The fields that differ from the preset of the configuration's name; None if there is no such preset."""
    if config.name not in preset_names():
        return None
    preset = flat_fields(Config.from_preset(config.name).to_dict())
    fields = flat_fields(config.to_dict())
    return [Change(name, preset.get(name), value) for name, value in fields.items() if preset.get(name) != value]


def training_command(files: RunFiles) -> str:
    """The command that makes the run."""
    run, description = str(files.run.path), files.description
    if files.kind == "convert":
        return _typed("pemt", "convert", description.get("source") or "CHECKPOINT", run)
    changes = preset_changes(files.config)
    parts = ["pemt", files.kind, "--data", description.get("data") or DATA]
    if description.get("initial"):
        parts += ["--init", description["initial"]]
    parts += ["--preset", files.config.name if changes is not None else f"{files.config.name}.yaml"]
    for change in changes or ():
        parts += ["--set", f"{change.name}={_yaml_value(change.run)}"]
    return _typed(*parts, "--output", run)


def evaluation_commands(files: RunFiles) -> list[str]:
    """The commands of the evaluations and probes in the run's folder."""
    evaluated = {"views": files.config.geometry.segments, "crops": 1, "sum_over": "clip"}
    commands = [_measured("evaluate", files, split, found, evaluated) for split, found in files.evaluations.items()]
    return commands + [_measured("probe", files, split, found, PROBE) for split, found in files.probes.items()]


def _measured(command: str, files: RunFiles, split: str, found: dict[str, Any], defaults: dict[str, Any]) -> str:
    flags = [part for name, default in defaults.items() for part in _flag(name, found.get(name), default)]
    return _typed("pemt", command, *_model_and_data(files), "--split", split, *flags)


def measuring_command(command: str, files: RunFiles) -> str:
    """The command `evaluate` or `probe` on the test split."""
    return _typed("pemt", command, *_model_and_data(files), "--split", "test")


def report_command(files: RunFiles) -> str:
    """The command that makes the report with clips."""
    return _typed("pemt", "report", str(files.run.path), "--data", files.description.get("data") or DATA)


def dataset_card(files: RunFiles, data: Path | None) -> DatasetCard | None:
    """The data's card: from the folder that the user names, or from the recorded one if it still holds that data."""
    if data is not None:
        return DatasetCard.read(data)
    recorded = files.description.get("data")
    if not recorded or not (Path(recorded) / CARD_NAME).is_file():
        return None
    try:
        card = DatasetCard.read(Path(recorded))
    except PemtError:
        return None
    return card if card.content_hash == files.description.get("data_hash") else None


def all_commands(files: RunFiles, card: DatasetCard | None) -> list[str]:
    """The known commands from the videos to the report: data set, pretraining, training, evaluations, report."""
    commands = [card.command] if card is not None and card.command else []
    initial = files.description.get("initial")
    if initial and (Path(initial) / RUN).is_file():
        try:
            commands.append(training_command(RunFiles.read(Path(initial))))
        except PemtError:
            commands.append(f"# the run {initial} can no longer be read")
    elif initial:
        commands.append(f"# the pretraining run {initial}, which is no longer there")
    return [*commands, training_command(files), *evaluation_commands(files), report_command(files)]


def _yaml_value(value: Any) -> str:
    """A value as `--set` reads it; quotes only where they are needed."""
    try:
        is_plain = isinstance(value, str) and parse_yaml(value, "") == value
    except PemtError:
        is_plain = False
    return value if is_plain else json.dumps(value)


def _flag(name: str, value: Any, default: Any) -> list[str]:
    return [] if value in (None, default) else [f"--{name.replace('_', '-')}", str(value)]


def _model_and_data(files: RunFiles) -> list[str]:
    return ["--model", str(files.run.path), "--data", files.description.get("data") or DATA]


def _typed(*parts: str) -> str:
    return " ".join(shlex.quote(str(part)) for part in parts)

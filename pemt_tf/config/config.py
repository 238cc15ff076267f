"""The whole configuration of a run, written beside every output and into every SavedModel; and its presets."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pemt_tf.config.allowed_values import Text
from pemt_tf.config.augmentation import AugmentationConfig
from pemt_tf.config.checks import build_section, check_fields, refuse_unknown, require
from pemt_tf.config.geometry import ClipGeometry
from pemt_tf.config.model import ModelConfig
from pemt_tf.config.training import FinetuneConfig, PretrainConfig
from pemt_tf.config.yaml_reader import parse_yaml, read_yaml
from pemt_tf.errors import PemtError, did_you_mean

PRESET_DIRECTORY = Path(__file__).parent / "presets"
_SECTIONS = {
    "geometry": ClipGeometry,
    "model": ModelConfig,
    "pretrain": PretrainConfig,
    "finetune": FinetuneConfig,
    "augmentation": AugmentationConfig,
}


@dataclass(frozen=True)
class Config:
    """Everything that defines a run."""

    name: Text = "custom"
    geometry: ClipGeometry = field(default_factory=ClipGeometry)
    model: ModelConfig = field(default_factory=ModelConfig)
    pretrain: PretrainConfig = field(default_factory=PretrainConfig)
    finetune: FinetuneConfig = field(default_factory=FinetuneConfig)
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)

    def __post_init__(self) -> None:
        check_fields(self)
        needed, rows = self.geometry.segments + 1, self.model.max_positions
        allowed = f"at least segments + 1 = {needed} (geometry.segments is {self.geometry.segments})"
        require(needed <= rows, "model.max_positions", rows, allowed)
        streams, modalities = self.finetune.streams, self.model.modalities
        allowed = f"some of the model's modalities, {', '.join(modalities)}, or none for all of them"
        require(set(streams) <= set(modalities), "finetune.streams", streams, allowed)
        weight, both = self.pretrain.alignment_weight, len(modalities) == 2
        allowed = f"0, because model.modalities is {', '.join(modalities)}, and alignment needs visual and audio"
        require(both or not weight, "pretrain.alignment_weight", weight, allowed)
        storage = self.model.rotation_storage
        allowed = "strict_triangle or square for a model that is trained; AVTransformer.fold() makes folded ones"
        require(storage != "folded", "model.rotation_storage", storage, allowed)

    @classmethod
    def from_preset(cls, name: str) -> Config:
        """Reads a preset by name, or a YAML file by path.

        Raises:
            PemtError: unknown name, unreadable file, unknown field or value out of range.
        """
        path = Path(name) if name.endswith((".yaml", ".yml")) else PRESET_DIRECTORY / f"{name}.yaml"
        if not path.is_file():
            known = ", ".join(preset_names())
            meant = did_you_mean(name, preset_names())
            raise PemtError(f"no preset {name!r}; known presets: {known}, or the path of a .yaml file{meant}")
        return cls._of_file(path, {"name": path.stem, **read_yaml(path, "the preset")})

    @classmethod
    def _of_file(cls, path: Path, values: Any) -> Config:
        try:
            return cls.from_dict(values)
        except PemtError as error:
            raise PemtError(f"{path}: {error}") from None

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Config:
        """Builds a configuration from nested plain values, the inverse of `to_dict`."""
        refuse_unknown("", values, ["name", *_SECTIONS])
        sections = {name: build_section(name, kind, values.get(name)) for name, kind in _SECTIONS.items()}
        return cls(name=values.get("name", "custom"), **sections)

    def to_dict(self) -> dict[str, Any]:
        """Nested plain values, ready for JSON."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    def with_overrides(self, assignments: list[str]) -> Config:
        """A copy with `section.field=value` assignments applied; values are YAML, and 1e-4 is a number.

        Raises:
            PemtError: an assignment has another form, names an unknown field, or has a value out of range.
        """
        values = self.to_dict()
        for assignment in assignments:
            key, equals, text = assignment.partition("=")
            section, dot, name = key.strip().partition(".")
            if not (equals and dot and isinstance(values.get(section), dict)):
                raise PemtError(f"cannot read --set {assignment!r}; write section.field=value, as in model.rank=64")
            values[section][name] = parse_yaml(text, f"--set {assignment!r}")
        return Config.from_dict(values)


def preset_names() -> list[str]:
    """Names of the presets that ship with the package."""
    return sorted(path.stem for path in PRESET_DIRECTORY.glob("*.yaml"))


def flat_fields(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested fields by their full names: `model.rank`."""
    flat = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= flat_fields(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def save_config(config: Config, path: Path) -> None:
    """Writes the resolved configuration as JSON."""
    path.write_text(json.dumps(config.to_dict(), indent=2) + "\n", encoding="utf-8")


def load_config(path: Path) -> Config:
    """Reads the file of `save_config`; raises PemtError if it is missing or damaged."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise PemtError(f"cannot read the configuration {path}: {getattr(error, 'strerror', None) or error}") from None
    return Config._of_file(path, values)

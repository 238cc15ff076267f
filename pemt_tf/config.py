"""Configuration: frozen dataclasses, validated on construction; presets are YAML files beside this module.

The resolved configuration is written beside every output (`config.json`) and inside every SavedModel, so that two
artefacts can be compared field by field before they are used together.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from pemt_tf.augmentation_config import AugmentationConfig
from pemt_tf.config_checks import check_scalars, require, require_one_of, require_positive
from pemt_tf.errors import PemtError
from pemt_tf.training_config import FinetuneConfig, PretrainConfig

PRESET_DIRECTORY = Path(__file__).parent / "presets"
MODALITIES = ("visual", "audio")

# name: (across layers, across modalities, low rank). The paper's four rows first (PRETRAINING.md section 6).
SHARING = {
    "none": (False, False, False),
    "layers": (True, False, False),
    "layers_and_modalities": (True, True, False),
    "low_rank": (True, True, True),
    "modalities": (False, True, False),
    "low_rank_unshared": (False, False, True),
    "low_rank_layers": (True, False, True),
    "low_rank_modalities": (False, True, True),
}
FUSION = ("early", "mid", "late")
ROTATIONS = ("exponential", "cayley")
ROTATION_STORAGE = ("strict_triangle", "square", "folded")
SUMMARIES = ("token", "mean_pooled")
RESNET_DEPTHS = (18, 34, 50)


@dataclass(frozen=True)
class ClipGeometry:
    """What one clip looks like on disk and to the model. Data sets and models with different geometry do not mix.

    Attributes:
        segments: segments per clip, each seen by one call of the CNNs.
        frames_per_segment: frames of one segment.
        frame_rate: frames per second within a segment.
        stored_short_side: short side of the stored JPEGs, pixels.
        train_crop: side of the random training crop, pixels.
        train_scale: smallest and largest short side (pixels) that the random training scale imitates.
        test_crop: side of the square test crop, pixels; the short side is scaled to it.
        sample_rate: audio samples per second, mono.
        samples_per_segment: waveform samples of one segment.
        mel_bins: mel bands of a spectrogram.
        mel_frames: time steps of a spectrogram.
    """

    segments: int = 10
    frames_per_segment: int = 32
    frame_rate: float = 15.0
    stored_short_side: int = 160
    train_crop: int = 112
    train_scale: tuple[int, int] = (128, 160)
    test_crop: int = 128
    sample_rate: int = 44_100
    samples_per_segment: int = 94_080
    mel_bins: int = 80
    mel_frames: int = 128

    def __post_init__(self) -> None:
        check_scalars(self)
        object.__setattr__(self, "train_scale", tuple(self.train_scale))
        require_positive(
            self, "segments", "frames_per_segment", "frame_rate", "stored_short_side", "train_crop", "test_crop"
        )
        require_positive(self, "sample_rate", "samples_per_segment", "mel_bins", "mel_frames")
        low, high = self.train_scale
        require(
            self.train_crop <= low <= high,
            "ClipGeometry.train_scale",
            self.train_scale,
            f"two sizes, smallest first, not below train_crop ({self.train_crop})",
        )
        sound = self.samples_per_segment / self.sample_rate
        require(
            abs(sound - self.segment_seconds) < 1e-3,
            "ClipGeometry.samples_per_segment",
            self.samples_per_segment,
            f"the samples of {self.segment_seconds:.4f} s (frames_per_segment / frame_rate) at {self.sample_rate} Hz: "
            f"{round(self.segment_seconds * self.sample_rate)}",
        )

    @property
    def segment_seconds(self) -> float:
        """Length of one segment, seconds."""
        return self.frames_per_segment / self.frame_rate

    def differences(self, other: ClipGeometry) -> list[str]:
        """Names the fields in which two geometries differ, as `field: ours, theirs`."""
        mine, theirs = dataclasses.asdict(self), dataclasses.asdict(other)
        return [f"{name}: {mine[name]} here, {theirs[name]} there" for name in mine if mine[name] != theirs[name]]


@dataclass(frozen=True)
class ModelConfig:
    """The audio-visual Transformer (REFERENCE.md sections 1 to 8).

    Attributes:
        modalities: which streams the model has; either may also be absent at run time.
        sharing: which weights the three Transformers share; the keys of `SHARING`.
        fusion: `early` (one joint Transformer), `mid` (one per modality, then a joint one) or `late` (no joint one).
        hidden, heads, intermediate, layers: Transformer sizes; `rank` is the width of the low-rank factor.
        rotation: how the orthogonal matrix is made from its parameter.
        rotation_storage: `strict_triangle`, only the degrees of freedom; `square`, as the released model; `folded`, for
            inference: merged with what follows it (`AVTransformer.fold`).
        initializer_std: standard deviation of the Transformer's weights at the start; the reference has 0.01, with
            which its layers begin close to the identity.
        summary: `token`, a learned summary token; `mean_pooled`, that plus the mean of all tokens.
        max_positions: rows of the position table; segments + 1 may not exceed it.
        attention_dropout, hidden_dropout: probabilities.
        visual_depth, visual_width: 3-D ResNet depth and stem channels; `audio_*` likewise.
        remat: keep less of the CNNs' forward pass for the backward one and compute it again: about half the memory of a
            training step for 1.4 times the time. The numbers are the same.
    """

    modalities: tuple[str, ...] = MODALITIES
    sharing: str = "low_rank"
    fusion: str = "mid"
    hidden: int = 768
    heads: int = 12
    intermediate: int = 3072
    layers: int = 6
    rank: int = 128
    rotation: str = "exponential"
    rotation_storage: str = "strict_triangle"
    initializer_std: float = 0.01
    summary: str = "token"
    max_positions: int = 22
    attention_dropout: float = 0.1
    hidden_dropout: float = 0.1
    visual_depth: int = 50
    visual_width: int = 64
    audio_depth: int = 50
    audio_width: int = 32
    remat: bool = False

    def __post_init__(self) -> None:
        check_scalars(self)
        object.__setattr__(self, "modalities", tuple(self.modalities))
        require(
            bool(self.modalities) and set(self.modalities) <= set(MODALITIES),
            "ModelConfig.modalities",
            self.modalities,
            "[visual], [audio] or [visual, audio]",
        )
        require_one_of("ModelConfig.sharing", self.sharing, SHARING)
        require_one_of("ModelConfig.fusion", self.fusion, FUSION)
        require_one_of("ModelConfig.rotation", self.rotation, ROTATIONS)
        require_one_of("ModelConfig.rotation_storage", self.rotation_storage, ROTATION_STORAGE)
        require_one_of("ModelConfig.summary", self.summary, SUMMARIES)
        require_positive(self, "hidden", "heads", "intermediate", "layers", "rank", "max_positions")
        require_positive(self, "visual_width", "audio_width", "initializer_std")
        require(self.hidden % self.heads == 0, "ModelConfig.hidden", self.hidden, f"a multiple of heads ({self.heads})")
        for name in ("visual_depth", "audio_depth"):
            value = getattr(self, name)
            require(value in RESNET_DEPTHS, f"ModelConfig.{name}", value, ", ".join(map(str, RESNET_DEPTHS)))
        for name in ("attention_dropout", "hidden_dropout"):
            value = getattr(self, name)
            require(0 <= value < 1, f"ModelConfig.{name}", value, "a probability from 0 to below 1")

    def folded(self) -> ModelConfig:
        """The configuration of this model's folded form."""
        low_rank = SHARING[self.sharing][2]
        return dataclasses.replace(self, rotation_storage="folded") if low_rank else self


@dataclass(frozen=True)
class Config:
    """Everything that defines a run."""

    name: str = "custom"
    geometry: ClipGeometry = field(default_factory=ClipGeometry)
    model: ModelConfig = field(default_factory=ModelConfig)
    pretrain: PretrainConfig = field(default_factory=PretrainConfig)
    finetune: FinetuneConfig = field(default_factory=FinetuneConfig)
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)

    def __post_init__(self) -> None:
        needed, rows = self.geometry.segments + 1, self.model.max_positions
        require(
            needed <= rows,
            "ModelConfig.max_positions",
            rows,
            f"at least segments + 1 = {needed} (ClipGeometry.segments is {self.geometry.segments})",
        )
        require(
            set(self.finetune.streams) <= set(self.model.modalities),
            "FinetuneConfig.streams",
            self.finetune.streams,
            f"some of the model's modalities, {', '.join(self.model.modalities)}, or none for all of them",
        )
        require(
            self.model.rotation_storage != "folded",
            "ModelConfig.rotation_storage",
            "folded",
            "strict_triangle or square for a model that is trained; AVTransformer.fold() makes folded ones",
        )

    @classmethod
    def from_preset(cls, name: str) -> Config:
        """Reads a preset by name, or a YAML file by path.

        Raises:
            PemtError: unknown name, unreadable file, unknown field or value out of range.
        """
        path = Path(name) if name.endswith((".yaml", ".yml")) else PRESET_DIRECTORY / f"{name}.yaml"
        if not path.is_file():
            known = ", ".join(preset_names())
            raise PemtError(f"no preset {name!r}; known presets: {known}, or the path of a .yaml file")
        try:
            values = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise PemtError(f"{path} is not readable YAML: {' '.join(str(error).split())}") from None
        values = {} if values is None else values
        _refuse_unknown(str(path), values, [f.name for f in dataclasses.fields(cls)])
        return cls.from_dict({"name": path.stem, **values})

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Config:
        """Builds a configuration from nested plain values, the inverse of `to_dict`."""
        sections = {f.name: f.default_factory for f in dataclasses.fields(cls) if f.name != "name"}
        _refuse_unknown("configuration", values, ["name", *sections])
        built = {}
        for section, kind in sections.items():
            given = values.get(section) or {}
            _refuse_unknown(f"configuration section {section}", given, [f.name for f in dataclasses.fields(kind)])
            try:
                built[section] = kind(**given)
            except TypeError as error:
                raise PemtError(f"configuration section {section} has a value of the wrong type: {error}") from None
        return cls(name=values.get("name", "custom"), **built)

    def to_dict(self) -> dict[str, Any]:
        """Nested plain values, ready for JSON."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    def with_overrides(self, assignments: list[str]) -> Config:
        """Returns a copy with `section.field=value` assignments applied; values are YAML.

        Raises:
            PemtError: an assignment has another form, or names an unknown field.
        """
        values = self.to_dict()
        for assignment in assignments:
            key, equals, text = assignment.partition("=")
            section, dot, name = key.partition(".")
            if not (equals and dot and isinstance(values.get(section), dict)):
                raise PemtError(f"cannot read --set {assignment!r}; write section.field=value, as in model.rank=64")
            values[section][name] = _read_value(text, assignment)
        return Config.from_dict(values)


def _read_value(text: str, assignment: str) -> Any:
    """A YAML value; YAML 1.1 reads 1e-4 as text, which is surely not meant."""
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise PemtError(f"cannot read --set {assignment!r}: {text!r} is no YAML value") from None
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            value = float(value)
            value = int(value) if value.is_integer() else value
    return value


def _refuse_unknown(where: str, given: dict[str, Any], known: list[str]) -> None:
    if not isinstance(given, dict):
        raise PemtError(f"{where} is {given!r}; it must give fields their values, as in `rank: 64`")
    unknown = sorted(map(str, set(given) - set(known)))
    if unknown:
        raise PemtError(f"{where} has no field {unknown[0]!r}; known: {', '.join(known)}")


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
    """Reads what `save_config` wrote.

    Raises:
        PemtError: it is not there or damaged.
    """
    try:
        return Config.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise PemtError(f"cannot read the configuration {path}: {getattr(error, 'strerror', None) or error}") from None

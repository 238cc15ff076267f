"""Configuration: frozen dataclasses, validated on construction; presets are YAML files beside this module.

The resolved configuration is written beside every output (`config.json`) and inside every SavedModel, so that two
artefacts can be compared field by field before they are used together.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pemt_tf.config.allowed_values import (
    MODALITIES,
    Count,
    Positive,
    Probability,
    ResNetDepth,
    Rotation,
    RotationStorage,
    Text,
    Truth,
    list_of,
    names,
    number,
    one_of,
    shown,
    whole,
)
from pemt_tf.config.augmentation import AugmentationConfig
from pemt_tf.config.checks import check_fields, require
from pemt_tf.config.training import FinetuneConfig, PretrainConfig
from pemt_tf.config.yaml_reader import parse_yaml, read_yaml
from pemt_tf.errors import PemtError

PRESET_DIRECTORY = Path(__file__).parent / "presets"

# name: (across layers, across modalities, low rank). The paper's four rows come first
# (docs/pretraining_objectives.md section 6).
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
SUMMARIES = ("token", "mean_pooled")

_PIXELS = Annotated[int, whole(1, 65_500)]  # the longest side of a JPEG
_TWO_SIZES = Annotated[tuple[int, int], list_of(whole(1, 65_500), 2, "two sizes in pixels, as in [128, 160]")]


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

    segments: Count = 10
    frames_per_segment: Count = 32
    frame_rate: Annotated[float, number(0.01, 1000)] = 15.0
    stored_short_side: _PIXELS = 160
    train_crop: _PIXELS = 112
    train_scale: _TWO_SIZES = (128, 160)
    test_crop: _PIXELS = 128
    sample_rate: Annotated[int, whole(2)] = 44_100
    samples_per_segment: Count = 94_080
    mel_bins: Count = 80
    mel_frames: Annotated[int, whole(2)] = 128

    def __post_init__(self) -> None:
        check_fields(self, "geometry")
        low, high = self.train_scale
        require(
            self.train_crop <= low <= high,
            "geometry.train_scale",
            self.train_scale,
            f"two sizes, smallest first, not below train_crop ({self.train_crop})",
        )
        sound = self.samples_per_segment / self.sample_rate
        require(
            abs(sound - self.segment_seconds) < 1e-3,
            "geometry.samples_per_segment",
            self.samples_per_segment,
            f"the samples of {self.segment_seconds:.4f} s (frames_per_segment / frame_rate) at {self.sample_rate} Hz: "
            f"{round(self.segment_seconds * self.sample_rate)}",
        )
        hop = self.samples_per_segment // self.mel_frames + 1
        require(
            self.samples_per_segment > hop,
            "geometry.samples_per_segment",
            self.samples_per_segment,
            f"more than the {hop} samples between two of the {self.mel_frames} steps of a spectrogram (mel_frames)",
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
    """The audio-visual Transformer (docs/reference_model.md sections 1 to 8).

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

    modalities: Annotated[tuple[str, ...], names(MODALITIES, 1, "[visual], [audio] or [visual, audio]")] = MODALITIES
    sharing: Annotated[str, one_of(tuple(SHARING))] = "low_rank"
    fusion: Annotated[str, one_of(FUSION)] = "mid"
    hidden: Count = 768
    heads: Count = 12
    intermediate: Count = 3072
    layers: Count = 6
    rank: Count = 128
    rotation: Rotation = "exponential"
    rotation_storage: RotationStorage = "strict_triangle"
    initializer_std: Positive = 0.01
    summary: Annotated[str, one_of(SUMMARIES)] = "token"
    max_positions: Count = 22
    attention_dropout: Probability = 0.1
    hidden_dropout: Probability = 0.1
    visual_depth: ResNetDepth = 50
    visual_width: Count = 64
    audio_depth: ResNetDepth = 50
    audio_width: Count = 32
    remat: Truth = False

    def __post_init__(self) -> None:
        check_fields(self, "model")
        require(self.hidden % self.heads == 0, "model.hidden", self.hidden, f"a multiple of heads ({self.heads})")

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ModelConfig:
        """Builds it from its fields.

        Raises:
            PemtError: a field is not known or has a value that is not allowed.
        """
        return _section("model", cls, values)

    def folded(self) -> ModelConfig:
        """The configuration of this model's folded form."""
        low_rank = SHARING[self.sharing][2]
        return dataclasses.replace(self, rotation_storage="folded") if low_rank else self


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
        require(
            needed <= rows,
            "model.max_positions",
            rows,
            f"at least segments + 1 = {needed} (geometry.segments is {self.geometry.segments})",
        )
        require(
            set(self.finetune.streams) <= set(self.model.modalities),
            "finetune.streams",
            self.finetune.streams,
            f"some of the model's modalities, {', '.join(self.model.modalities)}, or none for all of them",
        )
        require(
            self.model.rotation_storage != "folded",
            "model.rotation_storage",
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
        sections = {f.name: f.default_factory for f in dataclasses.fields(cls) if f.name != "name"}
        _refuse_unknown("", values, ["name", *sections])
        built = {}
        for section, kind in sections.items():
            built[section] = _section(section, kind, values.get(section))
        return cls(name=values.get("name", "custom"), **built)

    def to_dict(self) -> dict[str, Any]:
        """Nested plain values, ready for JSON."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    def with_overrides(self, assignments: list[str]) -> Config:
        """Returns a copy with `section.field=value` assignments applied; values are YAML, and 1e-4 is a number.

        Raises:
            PemtError: an assignment has another form, or names an unknown field.
        """
        values = self.to_dict()
        for assignment in assignments:
            key, equals, text = assignment.partition("=")
            section, dot, name = key.strip().partition(".")
            if not (equals and dot and isinstance(values.get(section), dict)):
                raise PemtError(f"cannot read --set {assignment!r}; write section.field=value, as in model.rank=64")
            values[section][name] = parse_yaml(text, f"--set {assignment!r}")
        return Config.from_dict(values)


def _section(name: str, kind: type, values: Any) -> Any:
    values = {} if values is None else values
    _refuse_unknown(name, values, [f.name for f in dataclasses.fields(kind)])
    return kind(**values)


def _refuse_unknown(section: str, given: Any, known: list[str]) -> None:
    where = f"configuration section {section}" if section else "the configuration"
    if not isinstance(given, dict):
        raise PemtError(f"{where} is {shown(given)}; it must give fields their values, as in `rank: 64`")
    unknown = sorted(map(str, set(given) - set(known)))
    if unknown:
        raise PemtError(f"{where} has no field {shown(unknown[0])}; known: {', '.join(known)}")


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
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise PemtError(f"cannot read the configuration {path}: {getattr(error, 'strerror', None) or error}") from None
    return Config._of_file(path, values)

"""Configuration: frozen dataclasses, validated on construction; presets are data, in `presets/`."""

from pemt_tf.config.config import (
    FUSION,
    PRESET_DIRECTORY,
    SHARING,
    SUMMARIES,
    ClipGeometry,
    Config,
    ModelConfig,
    flat_fields,
    load_config,
    preset_names,
    save_config,
)

__all__ = [
    "FUSION",
    "PRESET_DIRECTORY",
    "SHARING",
    "SUMMARIES",
    "ClipGeometry",
    "Config",
    "ModelConfig",
    "flat_fields",
    "load_config",
    "preset_names",
    "save_config",
]

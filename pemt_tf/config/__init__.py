"""Configuration: frozen dataclasses, validated on construction; presets are data, in `presets/`."""

from pemt_tf.config.config import Config, flat_fields, load_config, preset_names, save_config
from pemt_tf.config.geometry import ClipGeometry
from pemt_tf.config.model import FUSION, SHARING, ModelConfig

__all__ = [
    "FUSION",
    "SHARING",
    "ClipGeometry",
    "Config",
    "ModelConfig",
    "flat_fields",
    "load_config",
    "preset_names",
    "save_config",
]

"""Trained models in folders: what `AVTransformer.from_preset` reads and `save_to_preset` writes. A run is one, too."""

from __future__ import annotations

import json
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from pemt_tf.config import ModelConfig
from pemt_tf.config.checks import build_section
from pemt_tf.errors import PemtError
from pemt_tf.files.whole_file import write_text
from pemt_tf.models.weight_files import load_weights, save_weights

if TYPE_CHECKING:
    from pemt_tf.models.av_transformer import AVTransformer

CONFIG = "config.json"
BACKBONE = "backbone.weights.h5"


def is_trained_preset(preset: str | PathLike[str]) -> bool:
    """Whether this names a trained model, not a preset of the package or a YAML file."""
    return str(preset).startswith(("hf://", "kaggle://")) or Path(preset).is_dir()


def local_folder(preset: str | PathLike[str]) -> Path:
    """The folder itself, or the one into which a hub's package has downloaded the model.

    Raises:
        PemtError: the package is not installed, or the model cannot be downloaded.
    """
    scheme, separator, name = str(preset).partition("://")
    if not separator:
        return Path(preset)
    package = {"hf": "huggingface_hub", "kaggle": "kagglehub"}[scheme]
    try:
        if scheme == "hf":
            from huggingface_hub import snapshot_download as download
        else:
            from kagglehub import model_download as download
        return Path(download(name))
    except ImportError:
        raise PemtError(f"{preset} needs the package {package}: pip install {package}") from None
    except Exception as error:  # the hubs' packages and what they connect with raise errors of any kind
        raise PemtError(f"{preset} cannot be downloaded ({type(error).__name__}: {error})") from None


def read_model_config(folder: Path) -> ModelConfig:
    """The configuration of the model in a folder.

    Raises:
        PemtError: the folder holds no model, or its configuration is damaged.
    """
    for name in (CONFIG, BACKBONE):
        if not (folder / name).is_file():
            raise PemtError(
                f"{folder} has no {name}; give a finished run of `pemt pretrain`, `pemt finetune` or `pemt convert`, "
                "or a folder of `save_to_preset`"
            )
    try:
        values = json.loads((folder / CONFIG).read_text(encoding="utf-8"))["model"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PemtError(f"cannot read the model's configuration in {folder / CONFIG}: {error}") from None
    return build_section("model", ModelConfig, values)


def load_into(model: AVTransformer, folder: Path) -> None:
    """Builds a model and loads the folder's weights; raises PemtError where they are damaged."""
    model.build()
    load_weights(model, folder / BACKBONE)


def save(model: AVTransformer, folder: Path) -> None:
    """Writes configuration and weights, the weights last; raises PemtError where that is not possible."""
    values = {"model": model.get_config()["config"]}
    write_text(folder / CONFIG, json.dumps(values, indent=2) + "\n", make_folder=True)
    try:
        save_weights(model, folder / BACKBONE)
    except OSError as error:
        raise PemtError(f"cannot write {folder / BACKBONE}: {error.strerror or error}") from None

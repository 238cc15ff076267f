"""Parameter-efficient multimodal Transformers for video (Lee et al., ICLR 2021) in TensorFlow and Keras 3.

The public interface, which docs/library.md explains. Importing this package imports nothing heavy: each name is loaded
when it is first used, so decoding workers and `pemt --help` stay fast.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pemt_tf.client.prediction_client import PredictionClient
    from pemt_tf.config import ClipGeometry, Config, ModelConfig
    from pemt_tf.errors import PemtError
    from pemt_tf.layers.low_rank_shared_dense import LowRankSharedDense
    from pemt_tf.layers.shared_transformer import SharedTransformer
    from pemt_tf.library import TrainedModel, embed, load, predict, read_clips
    from pemt_tf.models.av_transformer import AVTransformer
    from pemt_tf.models.heads import AVClassifier

__version__: str  # as installed; pyproject.toml states it

ROOMS = {  # public name to the module that it is loaded from
    "AVClassifier": "models.heads",
    "AVTransformer": "models.av_transformer",
    "ClipGeometry": "config",
    "Config": "config",
    "LowRankSharedDense": "layers.low_rank_shared_dense",
    "ModelConfig": "config",
    "PemtError": "errors",
    "PredictionClient": "client.prediction_client",
    "SharedTransformer": "layers.shared_transformer",
    "TrainedModel": "library",
    "embed": "library",
    "load": "library",
    "predict": "library",
    "read_clips": "library",
}

__all__ = [
    "AVClassifier",
    "AVTransformer",
    "ClipGeometry",
    "Config",
    "LowRankSharedDense",
    "ModelConfig",
    "PemtError",
    "PredictionClient",
    "SharedTransformer",
    "TrainedModel",
    "embed",
    "load",
    "predict",
    "read_clips",
]


def __getattr__(name: str) -> Any:
    if name in ROOMS:
        return getattr(importlib.import_module(f"pemt_tf.{ROOMS[name]}"), name)
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import metadata

    try:
        return metadata.version("pemt-tf")
    except metadata.PackageNotFoundError:  # a copy of the source that is not installed
        return "0+unknown"

"""Predictions of an exported SavedModel in this process: the same as those of TF Serving, without a server."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf

from pemt_tf.errors import PemtError, first_line
from pemt_tf.export.clip_request import record_of
from pemt_tf.export.servable_metadata import ServableMetadata


class LocalPredictor:
    """A loaded SavedModel.

    Args:
        directory: folder of one version, or of several, of which the highest is taken.

    Raises:
        PemtError: the folder holds no model that `pemt export` made.
    """

    def __init__(self, directory: str | Path):
        self.directory = latest_version(Path(directory))
        self.metadata = ServableMetadata.read(self.directory)
        try:
            model = tf.saved_model.load(str(self.directory))
            self._predict = model.signatures["serving_default"]
        except MemoryError:
            raise
        except Exception as error:  # TensorFlow raises many kinds for a damaged model
            raise PemtError(f"{self.directory} cannot be loaded ({first_line(error)}); export it again") from None
        self._model = model  # keeps the variables alive

    @property
    def labels(self) -> tuple[str, ...]:
        """Classes, in the order of the prediction; empty for a model without classifier."""
        return self.metadata.labels

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of what `answer` returns."""
        return tuple(self._predict.structured_outputs)

    def answer(self, serialized: list[bytes]) -> dict[str, np.ndarray]:
        """Predicts for records: `embedding` [clips, hidden], and of a classifier `probabilities` [clips, classes].

        A classifier of several labels has `scores` in their place: `metadata.prediction` says which. A model with an
        aligned space adds `aligned_visual` and `aligned_audio` [clips, width].
        """
        return {name: value.numpy() for name, value in self._predict(examples=tf.constant(serialized)).items()}

    def record_of(self, path: str, start: float | None = None, end: float | None = None) -> bytes:
        """See `pemt_tf.export.clip_request.record_of`."""
        return record_of(path, self.metadata.config.geometry, start, end, self.metadata.modalities)


def latest_version(directory: Path) -> Path:
    """The folder itself if it is a SavedModel, otherwise its sub-folder with the highest number."""
    if (directory / "saved_model.pb").is_file():
        return directory
    found = [path for path in directory.iterdir() if path.name.isdigit()] if directory.is_dir() else []
    if not found:
        raise PemtError(f"{directory} is not a SavedModel and has no numbered version; make one with `pemt export`")
    return max(found, key=lambda path: int(path.name))

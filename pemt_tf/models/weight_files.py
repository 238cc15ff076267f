"""Files of weights."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import keras
import numpy as np

from pemt_tf.errors import PemtError, first_line
from pemt_tf.files.whole_file import whole_file

if TYPE_CHECKING:
    from pemt_tf.models.pretraining_model import PretrainingModel

_BLOCK = 1 << 20


def load_weights(model: keras.Model, path: Path) -> None:
    """Loads the weights of `save_weights`; raises PemtError if the file is damaged or missing."""
    try:
        model.load_weights(path)
    except MemoryError:
        raise
    except Exception as error:  # h5py and Keras raise errors of any kind for such a file
        raise PemtError(
            f"{path} is damaged ({first_line(error)}); copy it again, or train again into another --output"
        ) from None


def save_weights(model: keras.Model, path: Path) -> None:
    """Writes the weights of a model; raises OSError if that is not possible."""
    with whole_file(path) as partial:
        _reserve(partial, sum(math.prod(v.shape) * 4 + 8192 for v in model.variables))
        model.save_weights(partial)


def save_pair_classifiers(model: PretrainingModel, path: Path) -> None:
    """Writes the pair classifiers' weights, with which `pemt probe` matches audio and frames."""
    weights = {
        f"{stage}/{layer.name}/{variable.name}": keras.ops.convert_to_numpy(variable)
        for stage, classifier in model.pair_classifiers.items()
        for layer in (classifier.inner, classifier.outer)
        for variable in layer.weights
    }
    with whole_file(path) as partial, partial.open("wb") as file:
        np.savez(file, **weights)


def _reserve(path: Path, size: int) -> None:
    """Fills a file with zeros: on a full disk this fails cleanly, whereas HDF5 crashes at the end of the program."""
    with path.open("wb") as file:
        for start in range(0, size, _BLOCK):
            file.write(bytes(min(_BLOCK, size - start)))

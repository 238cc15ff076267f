"""Files of weights."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from pemt_tf.errors import PemtError, first_line
from pemt_tf.files.whole_file import whole_file
from pemt_tf.losses.audio_visual_alignment import MODALITIES, AlignedSpace

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
    _save_arrays(path, weights)


def save_aligned_space(space: AlignedSpace, path: Path) -> None:
    """Writes the projections and the temperature of an aligned space; raises OSError if that is not possible."""
    weights = {f"{modality}/kernel": layer.kernel for modality, layer in space.projections.items()}
    weights["log_scale"] = space.log_scale
    _save_arrays(path, {name: keras.ops.convert_to_numpy(variable) for name, variable in weights.items()})


def load_aligned_space(path: Path) -> AlignedSpace:
    """Reads the file of `save_aligned_space`; raises PemtError if it is damaged."""
    try:
        with np.load(path, allow_pickle=False) as weights:
            kernels, log_scale = {m: weights[f"{m}/kernel"] for m in MODALITIES}, weights["log_scale"]
        space = AlignedSpace(*kernels["visual"].shape, name="aligned_space")
        space.build()
        for modality, kernel in kernels.items():
            space.projections[modality].kernel.assign(kernel)
        space.log_scale.assign(log_scale)
    except (OSError, ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise PemtError(
            f"{path} is damaged ({first_line(error)}); copy it again, or train again into another --output"
        ) from None
    return space


def _save_arrays(path: Path, arrays: dict[str, Any]) -> None:
    with whole_file(path) as partial, partial.open("wb") as file:
        np.savez(file, **arrays)


def _reserve(path: Path, size: int) -> None:
    """Fills a file with zeros: on a full disk this fails cleanly, whereas HDF5 crashes at the end of the program."""
    with path.open("wb") as file:
        for start in range(0, size, _BLOCK):
            file.write(bytes(min(_BLOCK, size - start)))

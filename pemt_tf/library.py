"""What a Python program does with trained models: `load`, `embed`, `predict`, `read_clips` (docs/library.md)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from os import PathLike
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from pemt_tf.data.clip_source import ClipSource
from pemt_tf.data.input_pipeline import evaluation_clips, model_inputs, training_clips
from pemt_tf.errors import PemtError
from pemt_tf.export.clip_request import record_of
from pemt_tf.export.local_predictor import LocalPredictor
from pemt_tf.export.saved_model import computing_in_float32
from pemt_tf.export.servable_metadata import ServableMetadata
from pemt_tf.export.serving_model import ServingModel
from pemt_tf.export.signatures import ServingSignatures
from pemt_tf.export.weight_storage import FLOAT32, StoredWeights
from pemt_tf.models.finite_outputs import require_finite
from pemt_tf.training.run_directory import RUN, RunDirectory

PathText = str | PathLike[str]


class TrainedModel:
    """A trained model with what belongs to it; `load` makes it.

    Attributes:
        model: `AVClassifier` or `AVTransformer`, in float32; None for a SavedModel, which has only its functions.
        config: configuration of the run that trained it.
        labels: classes in the order of `predict`'s columns; empty without a classifier.
    """

    def __init__(
        self,
        model: keras.Model | None,
        metadata: ServableMetadata,
        outputs_of: Callable[[list[bytes]], dict[str, np.ndarray]],
    ) -> None:
        self.model, self.config, self.labels = model, metadata.config, metadata.labels
        self._modalities, self._outputs_of = metadata.modalities, outputs_of
        self._prediction = metadata.prediction

    def embed(self, files: PathText | Iterable[PathText], batch_size: int = 8) -> np.ndarray:
        """Embeds media files; a file without frames or without audio is embedded by what it has.

        Args:
            files: media files, or one.
            batch_size: files per call of the model.

        Returns:
            [files, hidden] float32.

        Raises:
            PemtError: a file cannot be used, or the model's output is not finite.
        """
        return self._outputs(files, batch_size, "embedding")

    def predict(self, files: PathText | Iterable[PathText], batch_size: int = 8) -> np.ndarray:
        """Classifies media files.

        Args:
            files: media files, or one.
            batch_size: files per call of the model.

        Returns:
            [files, classes] float32, in the order of `labels`: probabilities, or with several labels a clip the score
            of each label, from 0 to 1.

        Raises:
            PemtError: the model has no classifier, a file cannot be used, or the output is not finite.
        """
        if self._prediction is None:
            raise PemtError("the model has no classifier; load a run of `pemt finetune`")
        return self._outputs(files, batch_size, self._prediction)

    def _outputs(self, files: PathText | Iterable[PathText], batch_size: int, name: str) -> np.ndarray:
        paths = [str(file) for file in ([files] if isinstance(files, str | PathLike) else files)]
        if not paths:
            raise PemtError("there are no files to look at; give at least one")
        geometry, parts = self.config.geometry, []
        for start in range(0, len(paths), batch_size):
            batch = paths[start : start + batch_size]
            records = [record_of(path, geometry, modalities=self._modalities) for path in batch]
            parts.append(self._outputs_of(records)[name])
        values = np.concatenate(parts)
        require_finite(values, paths, f"the model's {name}")
        return values


def load(folder: PathText) -> TrainedModel:
    """Loads a run of `pemt pretrain`, `pemt finetune` or `pemt convert`, or a SavedModel of `pemt export`.

    Args:
        folder: the command's `--output`.

    Raises:
        PemtError: the folder holds neither, or the run is not finished.
    """
    path = Path(folder)
    if not (path / RUN).is_file():
        predictor = LocalPredictor(path)
        return TrainedModel(None, predictor.metadata, predictor.answer)
    run = RunDirectory(path)
    run.require_finished()
    config = run.config()
    with computing_in_float32():
        model, labels = run.load_model()
    metadata = ServableMetadata(config, labels)
    served = ServingModel(model, config.geometry, StoredWeights(model, FLOAT32))
    # The function that a SavedModel of this run would offer: the same feature code, the same masks.
    outputs = tf.function(ServingSignatures(served, metadata).all()[0].function)

    def outputs_of(records: list[bytes]) -> dict[str, np.ndarray]:
        return {name: value.numpy() for name, value in outputs(tf.constant(records)).items()}

    return TrainedModel(model, metadata, outputs_of)


def embed(folder: PathText, files: PathText | Iterable[PathText]) -> np.ndarray:
    """`load(folder).embed(files)`: [files, hidden] float32."""
    return load(folder).embed(files)


def predict(folder: PathText, files: PathText | Iterable[PathText]) -> np.ndarray:
    """`load(folder).predict(files)`: [files, classes] float32 probabilities, or scores with several labels."""
    return load(folder).predict(files)


def read_clips(
    data: PathText,
    split: str = "train",
    batch_size: int = 8,
    training: bool = False,
    labelled: bool = True,
    seed: int = 0,
    modalities: tuple[str, ...] = ("visual", "audio"),
    every_label: bool = False,
) -> tf.data.Dataset:
    """Reads the records of a data set as batches for `fit` or a loop of one's own.

    Args:
        data: folder written by `python -m beam_jobs.preprocess`.
        split: the split to read.
        batch_size: clips per batch.
        training: True for an endless, shuffled stream of augmented clips; False for every clip once, in order.
        labelled: whether to leave out clips without a label.
        seed: random seed of order and augmentation.
        modalities: modalities of the model that is fed.
        every_label: whether to give all labels of a clip, or only the first.

    Returns:
        Pairs of inputs, as `AVTransformer` takes them, and labels [batch] int64 (-1: none); or with `every_label`
        [batch, classes] float32, 1 for each label of the clip.

    Raises:
        PemtError: the data set cannot be read or has no such clips.
    """
    source = ClipSource.open(str(data))
    if training:
        clips = training_clips(source, split, batch_size, seed, labelled=labelled, every_label=every_label)
    else:
        clips = evaluation_clips(source, split, batch_size, labelled=labelled, every_label=every_label)
    labels = "targets" if every_label else "label"
    return clips.map(lambda batch: (model_inputs(batch, modalities), batch[labels]))

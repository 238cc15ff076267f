"""The worker's second part: the SavedModel behind Beam's RunInference."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from apache_beam.ml.inference.base import ModelHandler

from beam_jobs.embedding.reading import ClipExample, EmbeddedClip
from beam_jobs.engines import storage
from pemt_tf.data.damage import READ_ERRORS, plain_cause
from pemt_tf.errors import PemtError
from pemt_tf.export.local_predictor import LocalPredictor, latest_version
from pemt_tf.search.embedding_table import ALIGNED


class SavedModelHandler(ModelHandler[ClipExample, EmbeddedClip, LocalPredictor]):
    """Embeds clips with an exported model's signature for records; RunInference loads it once in each process."""

    def __init__(self, directory: str, batch_size: int) -> None:
        """Loads nothing yet."""
        super().__init__(min_batch_size=batch_size, max_batch_size=batch_size)
        self._directory = directory

    def load_model(self) -> LocalPredictor:
        with local_model(self._directory) as directory:
            return LocalPredictor(directory)

    def run_inference(
        self, batch: Sequence[ClipExample], model: LocalPredictor, inference_args: dict[str, Any] | None = None
    ) -> Iterable[EmbeddedClip]:
        """Embeds a batch; if a record spoils it, each clip on its own."""
        try:
            answer = model.answer([example.serialized for example in batch])
        except tf.errors.ResourceExhaustedError as error:
            raise PemtError(f"{len(batch)} clips at once take too much memory; use a smaller --batch_size") from error
        except READ_ERRORS as error:
            if len(batch) > 1:
                return [result for example in batch for result in self.run_inference([example], model)]
            detail = plain_cause(error)
            return [EmbeddedClip(batch[0].place, batch[0].about, None, "model", "bad_record", detail)]
        names = ["embedding", *(name for name in ALIGNED if name in answer)]
        return [_result(example, {name: answer[name][row] for name in names}) for row, example in enumerate(batch)]

    def get_num_bytes(self, batch: Sequence[ClipExample]) -> int:
        return sum(len(example.serialized) for example in batch)

    def get_metrics_namespace(self) -> str:
        return "embed"


def _result(example: ClipExample, vectors: dict[str, np.ndarray]) -> EmbeddedClip:
    numbers = np.concatenate(list(vectors.values()))
    if np.isfinite(numbers).all():
        found = {name: vector.astype("<f4").tobytes() for name, vector in vectors.items()}
        return EmbeddedClip(example.place, example.about, found.pop("embedding"), aligned=found)
    detail = f"{np.count_nonzero(~np.isfinite(numbers))} of {numbers.size} numbers are infinite or undefined"
    return EmbeddedClip(example.place, example.about, None, "model", "not_finite", detail)


@contextlib.contextmanager
def local_model(path: str) -> Iterator[Path]:
    """A local folder with the version of a SavedModel that a path names, for code that can only read local files."""
    if not storage.is_remote(path):
        yield latest_version(Path(path))
        return
    with tempfile.TemporaryDirectory() as scratch:
        try:
            found = [each.path for each in storage.file_systems().match([f"{path.rstrip('/')}/**"])[0].metadata_list]
            for file in found:
                if not file.endswith("/"):
                    copy = Path(scratch, file[len(path.rstrip("/")) + 1 :])
                    copy.parent.mkdir(parents=True, exist_ok=True)
                    with storage.open_read(file) as source:
                        copy.write_bytes(source.read())
        except Exception as error:  # each file system of Beam has its own kinds of error
            raise PemtError(f"cannot read the model {path}: {' '.join(str(error).split())}") from None
        try:
            directory = latest_version(Path(scratch))
        except PemtError:
            raise PemtError(
                f"{path} is not a SavedModel and has no numbered version; make one with `pemt export`"
            ) from None
        yield directory

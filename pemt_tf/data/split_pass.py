"""Runs a function, usually a model, over the clips of a split: the one loop of evaluation, validation and embedding."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from pemt_tf.data.clip_source import ClipSource
from pemt_tf.data.input_pipeline import evaluation_clips, read_batches
from pemt_tf.terminal.progress import Progress


@dataclass(frozen=True, eq=False)
class ClipOutputs:
    """A batch of clips and what the function returned for them.

    Attributes:
        ids: ids of the clips.
        paths: source files of the clips; a clip without one has its id.
        labels: [clips] int64, -1 without a label.
        values: the function's result, with arrays in place of tensors.
    """

    ids: list[str]
    paths: list[str]
    labels: np.ndarray
    values: Any


class SplitPass:
    """Passes over splits of a data set; the function is traced once for all of them.

    Args:
        source: the records.
        function: from a batch of `evaluation_clips` to tensors, of any nesting.
        batch_size: clips per batch.
        crops: see `evaluation_clips`.
    """

    def __init__(self, source: ClipSource, function: Callable[[dict], Any], batch_size: int = 16, crops: int = 1):
        self._source, self._function, self._batch_size, self._crops = source, function, batch_size, crops
        self._compiled = None

    def over(
        self, split: str, labelled: bool = False, most: int | None = None, progress: str = ""
    ) -> Iterator[ClipOutputs]:
        """Yields the batches of one pass.

        Args:
            split: the split to read.
            labelled: leave out clips without a label.
            most: stop after the batch in which this number of clips is reached.
            progress: first words of a progress line; empty for none.

        Raises:
            PemtError: there is no such split, a record is damaged, or clips are missing.
        """
        clips = evaluation_clips(self._source, split, self._batch_size, labelled, self._crops)
        self._compiled = self._compiled or tf.function(self._function, input_signature=[clips.element_spec])
        shown = Progress(progress, most or self._source.clips.get(split, 0), "clips") if progress else None
        done = 0
        for batch in read_batches(clips, self._source, split):
            values = tf.nest.map_structure(lambda value: value.numpy(), self._compiled(batch))
            ids, paths = (_texts(batch[name]) for name in ("id", "path"))
            paths = [path or clip_id for path, clip_id in zip(paths, ids, strict=True)]
            yield ClipOutputs(ids, paths, batch["label"].numpy(), values)
            done += len(ids)
            if shown is not None:
                shown.total = max(shown.total, done)
                shown.update(done)
            if most is not None and done >= most:
                break
        if most is None:
            self._source.require_count(split, done, labelled)
        if shown is not None:
            shown.total = done
            shown.close()


def _texts(values: tf.Tensor) -> list[str]:
    return [value.decode("utf-8", "backslashreplace") for value in values.numpy()]  # old data sets hold any bytes

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
    """A batch of clips and what the function returned for them."""

    ids: list[str]  # ids of the clips
    paths: list[str]  # source files; a clip without one has its id
    labels: np.ndarray  # [clips] int64, -1 without a label
    targets: np.ndarray | None  # [clips, classes] bool, all labels of each clip; None unless they were asked for
    values: Any  # the function's result, with arrays in place of tensors


class SplitPass:
    """Passes over splits of a data set; the function is traced once for all of them.

    It takes a batch of `evaluation_clips` and returns tensors, of any nesting.
    """

    def __init__(
        self,
        source: ClipSource,
        function: Callable[[dict], Any],
        batch_size: int = 16,
        crops: int = 1,
        every_label: bool = False,
    ):
        self._source, self._function, self._batch_size = source, function, batch_size
        self._crops, self._every_label = crops, every_label
        self._compiled = None

    def over(
        self, split: str, labelled: bool = False, most: int | None = None, progress: str = ""
    ) -> Iterator[ClipOutputs]:
        """Yields the batches of one pass, up to that in which `most` clips are reached, by default of all.

        `progress` are the first words of a progress line; empty for none. Damaged records and missing clips are errors.
        """
        clips = evaluation_clips(self._source, split, self._batch_size, labelled, self._crops, self._every_label)
        self._compiled = self._compiled or tf.function(self._function, input_signature=[clips.element_spec])
        shown = Progress(progress, most or self._source.clips.get(split, 0), "clips") if progress else None
        done = 0
        for batch in read_batches(clips, self._source, split):
            values = tf.nest.map_structure(lambda value: value.numpy(), self._compiled(batch))
            ids, paths = (_texts(batch[name]) for name in ("id", "path"))
            paths = [path or clip_id for path, clip_id in zip(paths, ids, strict=True)]
            targets = batch["targets"].numpy() > 0 if self._every_label else None
            yield ClipOutputs(ids, paths, batch["label"].numpy(), targets, values)
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

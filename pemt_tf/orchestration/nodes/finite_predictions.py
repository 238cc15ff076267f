"""A TFMA metric that stops the Evaluator at NaN and infinity. Others take NaN for label 0, which may be right."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow as tf
import tensorflow_model_analysis as tfma

from pemt_tf.data.record_format import CLIP_ID
from pemt_tf.models.finite_outputs import require_finite


class FinitePredictions(tfma.metrics.Metric):
    """The number of clips with finite predictions: all of them, or the evaluation fails and names the clip."""

    def __init__(self, name: str = "finite_answers", code: str = ""):
        super().__init__(tfma.metrics.merge_per_key_computations(_computations), name=name, code=code)


class RequireFinitePredictions(tfma.metrics.Preprocessor):
    """Checks all predictions for a clip."""

    def process(self, extracts: dict[str, Any]) -> Iterator[int]:
        """Checks one clip."""
        for prediction in _leaves(extracts[tfma.PREDICTIONS_KEY]):
            require_finite(prediction.reshape(1, -1), [_clip_id(extracts)], "the model's prediction")
        yield 1


class _Count(beam.combiners.CountCombineFn):
    def __init__(self, key: tfma.metrics.MetricKey):
        self._key = key

    def extract_output(self, accumulator: int) -> dict[tfma.metrics.MetricKey, float]:
        return {self._key: float(accumulator)}


def _leaves(predictions: Any) -> Iterator[np.ndarray]:
    """Arrays of numbers in predictions, which are by output, and by model where there are two."""
    if isinstance(predictions, dict):
        for one in predictions.values():
            yield from _leaves(one)
    elif np.issubdtype(np.asarray(predictions).dtype, np.floating):
        yield np.asarray(predictions)


def _clip_id(extracts: dict[str, Any]) -> str:
    raw = np.ravel(extracts.get(tfma.INPUT_KEY, b""))[0]
    feature = tf.train.Example.FromString(raw).features.feature
    return (list(feature[CLIP_ID].bytes_list.value) or [b"?"])[0].decode("utf-8", "backslashreplace")


def _computations(
    name: str, eval_config: tfma.EvalConfig | None = None, model_name: str = "", output_name: str = "", **_: Any
) -> list[tfma.metrics.MetricComputation]:
    key = tfma.metrics.MetricKey(name=name, model_name=model_name, output_name=output_name)
    checks = [RequireFinitePredictions()]
    return [tfma.metrics.MetricComputation(keys=[key], preprocessors=checks, combiner=_Count(key))]

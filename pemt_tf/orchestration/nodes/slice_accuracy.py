"""A TFMA metric for thresholds on slices: the accuracy on a few clips says little."""

from __future__ import annotations

from typing import Any

import apache_beam as beam
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto.config_pb2 import EvalConfig


class SliceAccuracy(tfma.metrics.Metric):
    """The accuracy of a slice, or 1 for a slice of fewer than `least` clips, which passes every threshold."""

    def __init__(self, name: str = "slice_top1", least: int = 1, code: str = ""):
        super().__init__(tfma.metrics.merge_per_key_computations(_computations), name=name, least=least, code=code)


class AccuracyCombiner(beam.combiners.MeanCombineFn):
    """The mean over clips of 1 for a correct one, else 0; the accumulator holds the sum and the number of clips."""

    def __init__(self, key: tfma.metrics.MetricKey, config: EvalConfig | None, least: int):
        self._key, self._config, self._least = key, config, least

    def add_input(self, accumulator: tuple[int, int], element: Any) -> tuple[int, int]:
        """Adds one clip."""
        correct, clips = accumulator
        pairs = tfma.metrics.to_label_prediction_example_weight(
            element, self._config, self._key.model_name, self._key.output_name, flatten=False
        )
        for label, probabilities, _ in pairs:
            correct, clips = correct + int(probabilities.argmax() == label.ravel()[0]), clips + 1
        return correct, clips

    def extract_output(self, accumulator: tuple[int, int]) -> dict[tfma.metrics.MetricKey, float]:
        """The accuracy, or 1."""
        correct, clips = accumulator
        return {self._key: correct / clips if clips >= max(self._least, 1) else 1.0}


def _computations(
    name: str,
    eval_config: EvalConfig | None = None,
    model_name: str = "",
    output_name: str = "",
    least: int = 1,
    **_: Any,
) -> list[tfma.metrics.MetricComputation]:
    key = tfma.metrics.MetricKey(name=name, model_name=model_name, output_name=output_name)
    combiner = AccuracyCombiner(key, eval_config, least)
    return [tfma.metrics.MetricComputation(keys=[key], preprocessors=None, combiner=combiner)]

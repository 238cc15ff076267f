"""A metric of TensorFlow Model Analysis for thresholds on slices: of a few clips no share says much."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import apache_beam as beam
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto.config_pb2 import EvalConfig


class SliceAccuracy(tfma.metrics.Metric):
    """The accuracy of a slice, but 1 where it has fewer clips than `least`: it passes every threshold.

    Args:
        name: of the metric.
        least: clips from which on the accuracy counts.
    """

    def __init__(self, name: str = "slice_top1", least: int = 1):
        super().__init__(tfma.metrics.merge_per_key_computations(_computations), name=name, least=least)


class AccuracyCombiner(beam.CombineFn):
    """Counts right clips and all clips.

    Args:
        key: of the metric.
        config: of the evaluation.
        least: see `SliceAccuracy`.
    """

    def __init__(self, key: tfma.metrics.MetricKey, config: EvalConfig | None, least: int):
        self._key, self._config, self._least = key, config, least

    def create_accumulator(self) -> tuple[int, int]:
        """No clips."""
        return 0, 0

    def add_input(self, accumulator: tuple[int, int], element: Any) -> tuple[int, int]:
        """One clip more."""
        right, clips = accumulator
        pairs = tfma.metrics.to_label_prediction_example_weight(
            element,
            eval_config=self._config,
            model_name=self._key.model_name,
            output_name=self._key.output_name,
            flatten=False,
        )
        for label, probabilities, _ in pairs:
            right, clips = right + int(probabilities.argmax() == label.ravel()[0]), clips + 1
        return right, clips

    def merge_accumulators(self, accumulators: Iterable[tuple[int, int]]) -> tuple[int, int]:
        """What several workers counted."""
        right, clips = zip(*accumulators, strict=True)
        return sum(right), sum(clips)

    def extract_output(self, accumulator: tuple[int, int]) -> dict[tfma.metrics.MetricKey, float]:
        """The share, or 1."""
        right, clips = accumulator
        return {self._key: right / clips if clips >= max(self._least, 1) else 1.0}


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

"""TFMA metrics of several labels a clip: mean average precision and AUC, over all clips, in each slice, by label."""

from __future__ import annotations

import math
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto.config_pb2 import EvalConfig

from pemt_tf.evaluation.ranking import RankingMetrics, rank_labels

PRECISION, AUC = "mean_average_precision", "auc"
_BY_LABEL = {PRECISION: "average_precision", AUC: "auc"}
Scores = list[tuple[np.ndarray, np.ndarray]]  # scores [clips, labels] float32, truth [clips, labels] bool


class RankingFigure(tfma.metrics.Metric):
    """A figure of `rank_labels`, and with `by_label` also that of each label, NaN where it is not defined.

    Args:
        name: the metric's name.
        figure: `mean_average_precision` or `auc`.
        labels: size of the vocabulary.
        least: a slice of fewer clips gets 1, which passes every threshold.
        by_label: whether each label has a value too, with its number as `class_id`.
    """

    def __init__(
        self,
        name: str = PRECISION,
        figure: str = PRECISION,
        labels: int = 1,
        least: int = 1,
        by_label: bool = False,
        code: str = "",
    ):
        arguments = {"figure": figure, "labels": labels, "least": least, "by_label": by_label, "code": code}
        super().__init__(tfma.metrics.merge_per_key_computations(_computations), name=name, **arguments)


class RankingCombiner(beam.CombineFn):
    """Collects the scores of all clips of a slice, and ranks them at the end."""

    def __init__(
        self, keys: list[tfma.metrics.MetricKey], config: EvalConfig | None, figure: str, labels: int, least: int
    ):
        self._keys, self._config = keys, config
        self._figure, self._labels, self._least = figure, labels, least

    def create_accumulator(self) -> Scores:
        """No clip."""
        return []

    def add_input(self, accumulator: Scores, element: Any) -> Scores:
        """Adds one clip, whose labels are their numbers in the vocabulary."""
        pairs = tfma.metrics.to_label_prediction_example_weight(
            element, self._config, self._keys[0].model_name, self._keys[0].output_name, flatten=False
        )
        for label, scores, _ in pairs:
            truth = np.zeros((1, self._labels), bool)
            truth[0, np.asarray(label).ravel().astype(int)] = True
            accumulator.append((np.asarray(scores, np.float32).reshape(1, -1), truth))
        return accumulator

    def merge_accumulators(self, accumulators: Any) -> Scores:
        """Puts several together."""
        return [part for accumulator in accumulators for part in accumulator]

    def compact(self, accumulator: Scores) -> Scores:
        """One array for all clips: much smaller than one for each."""
        return [tuple(map(np.concatenate, zip(*accumulator, strict=True)))] if accumulator else []  # pyright: ignore

    def extract_output(self, accumulator: Scores) -> dict[tfma.metrics.MetricKey, float]:
        """The figure, and that of each label."""
        whole = self.compact(accumulator)
        if not whole or len(whole[0][0]) < self._least:
            return {key: math.nan if key.sub_key else 1.0 for key in self._keys}
        found = rank_labels(*whole[0], [str(number) for number in range(self._labels)])
        return {key: self._value(found, key.sub_key) for key in self._keys}

    def _value(self, found: RankingMetrics, sub_key: Any) -> float:
        if sub_key is None:
            value = found.mean_average_precision if self._figure == PRECISION else found.auc
        else:
            value = found.per_class[sub_key.class_id][_BY_LABEL[self._figure]]
        return math.nan if value is None else value


def _computations(
    name: str,
    eval_config: EvalConfig | None = None,
    model_name: str = "",
    output_name: str = "",
    figure: str = PRECISION,
    labels: int = 1,
    least: int = 1,
    by_label: bool = False,
    **_: Any,
) -> list[tfma.metrics.MetricComputation]:
    subs = [None, *(tfma.metrics.SubKey(class_id=number) for number in range(labels if by_label else 0))]
    keys = [
        tfma.metrics.MetricKey(name=name, model_name=model_name, output_name=output_name, sub_key=sub) for sub in subs
    ]
    combiner = RankingCombiner(keys, eval_config, figure, labels, least)
    return [tfma.metrics.MetricComputation(keys=keys, preprocessors=None, combiner=combiner)]

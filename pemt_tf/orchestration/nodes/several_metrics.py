"""The Evaluator's results for several labels a clip as plain values; `model_metrics` has those of one label."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import tensorflow_model_analysis as tfma

from pemt_tf.evaluation.ranking import d_prime
from pemt_tf.orchestration.nodes.model_metrics import CLIPS, slice_named
from pemt_tf.orchestration.nodes.several_labels import AUC, PRECISION
from pemt_tf.orchestration.nodes.slices import SLICES

SLICE_PRECISION = "slice_mean_average_precision"
_BASELINE = tfma.BASELINE_KEY


@dataclass(frozen=True)
class LabelFigures:
    """Figures of one label; None where they are not defined, because no clip has it, or every clip."""

    label: str
    clips: int | None  # clips with the label; None in smaller slices than are shown
    average_precision: float | None
    auc: float | None
    d_prime: float | None


@dataclass(frozen=True)
class SliceRanking:
    """Figures of one slice, such as `by` source the `value` news."""

    by: str
    value: str
    clips: int
    mean_average_precision: float | None
    auc: float | None


@dataclass(frozen=True)
class SeveralMetrics:
    """Figures of a model of several labels on the held-out clips."""

    clips: int
    mean_average_precision: float | None
    auc: float | None
    d_prime: float | None
    baseline_mean_average_precision: float | None = None  # of the last blessed model; None if there was none
    slices: list[SliceRanking] = field(default_factory=list)  # of at least `slice_clips_at_least` clips
    per_class: list[LabelFigures] = field(default_factory=list)

    @classmethod
    def read(cls, evaluation: str, labels: list[str], least: int) -> SeveralMetrics:
        """Reads the Evaluator's output."""
        whole: dict[Any, Any] = {}
        slices, of_label = [], {}
        for one in tfma.load_metrics(evaluation):
            values = _values(one)
            keys = one.slice_key.single_slice_keys
            if not keys:
                whole = values
                continue
            by, value = slice_named(keys[0])
            if by == "label":
                of_label[value] = round(values[CLIPS])
            elif values[CLIPS] >= least:
                slices.append(SliceRanking(by, value, round(values[CLIPS]), values[PRECISION], values[AUC]))
        order = list(SLICES)
        slices.sort(key=lambda each: (order.index(each.by), each.value))
        per_class = [
            LabelFigures(label, of_label.get(label, 0), whole[PRECISION, n], whole[AUC, n], d_prime(whole[AUC, n]))
            for n, label in enumerate(labels)
        ]
        baseline = whole.get((_BASELINE, PRECISION))
        auc = whole[AUC]
        return cls(round(whole[CLIPS]), whole[PRECISION], auc, d_prime(auc), baseline, slices, per_class)

    def as_evaluation(self, split: str, labels: list[str], **about: Any) -> dict[str, Any]:
        """The same in the form that `pemt evaluate` writes, which the model card takes; `about` is added."""
        with_clips = [row.clips for row in self.per_class if row.clips]
        return {
            "split": split,
            "labels": labels,
            "clips": self.clips,
            "mean_average_precision": self.mean_average_precision,
            "interval": None,
            "chance": sum(with_clips) / len(with_clips) / self.clips if with_clips else None,
            "auc": self.auc,
            "d_prime": self.d_prime,
            "without_positive": sum(row.clips == 0 for row in self.per_class),
            "without_negative": sum(row.clips == self.clips for row in self.per_class),
            "per_class": [asdict(row) for row in self.per_class],
            **about,
        }


def _values(one: Any) -> dict[Any, Any]:
    """Metric, or metric and number of a label, to value, None for NaN; those of the baseline stand after its name."""
    values: dict[Any, Any] = {}
    for each in one.metric_keys_and_values:
        key, value = each.key, each.value.double_value.value
        if key.is_diff:
            continue
        name: Any = (key.name, key.sub_key.class_id.value) if key.HasField("sub_key") else key.name
        name = (_BASELINE, name) if key.model_name == _BASELINE else name
        values[name] = None if value != value else value
    return values

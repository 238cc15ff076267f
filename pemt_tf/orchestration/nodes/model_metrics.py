"""The Evaluator's results as plain values, for the model card and the list of runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import tensorflow_model_analysis as tfma

from pemt_tf.evaluation.intervals import wilson_interval
from pemt_tf.orchestration.nodes.slices import SLICES

TOP_1, TOP_5, SLICE_TOP_1, CLIPS, PRECISION = "top1", "top5", "slice_top1", "clips", "precision"
_NAMES = {feature: name for name, feature in SLICES.items()}
_BASELINE = tfma.BASELINE_KEY


@dataclass(frozen=True)
class SliceMetrics:
    """Metrics of one slice, such as `by` label the `value` dog; accuracies from 0 to 1."""

    by: str
    value: str
    clips: int
    top1: float
    top5: float


@dataclass(frozen=True)
class ModelMetrics:
    """Metrics of a model on the held-out clips; accuracies from 0 to 1."""

    clips: int
    top1: float
    top5: float
    baseline_top1: float | None = None  # of the last blessed model on the same clips; None if there was none
    slices: list[SliceMetrics] = field(default_factory=list)  # of at least `slice_clips_at_least` clips
    precision: dict[str, float | None] = field(default_factory=dict)  # by label; None: never predicted

    @classmethod
    def read(cls, evaluation: str, labels: list[str], least: int) -> ModelMetrics:
        """Reads the Evaluator's output."""
        whole: dict[str, Any] = {}
        slices, precision = [], dict.fromkeys(labels)
        for one in tfma.load_metrics(evaluation):
            values = _values(one)
            keys = one.slice_key.single_slice_keys
            if not keys:
                whole = values
                precision |= {labels[number]: value for number, value in values[PRECISION].items()}
            elif values[CLIPS] >= least:
                by, value = slice_named(keys[0])
                slices.append(SliceMetrics(by, value, round(values[CLIPS]), values[TOP_1], values[TOP_5]))
        order = list(SLICES)
        slices.sort(key=lambda each: (order.index(each.by), each.value))
        return cls(
            round(whole[CLIPS]), whole[TOP_1], whole[TOP_5], whole.get(f"{_BASELINE}/{TOP_1}"), slices, precision
        )

    def as_evaluation(self, split: str, labels: list[str], **about: Any) -> dict[str, Any]:
        """The same in the form that `pemt evaluate` writes, which the model card takes; `about` is added."""
        by_label = [each for each in self.slices if each.by == "label" and each.value in labels]
        return {
            "split": split,
            "labels": labels,
            "clips": self.clips,
            "accuracy": self.top1,
            "interval": _interval(self.top1, self.clips),
            "top5": self.top5,
            "top5_interval": _interval(self.top5, self.clips),
            "chance": 1 / len(labels),
            "per_class": [
                {"label": e.value, "clips": e.clips, "accuracy": e.top1, "interval": _interval(e.top1, e.clips)}
                for e in sorted(by_label, key=lambda e: labels.index(e.value))
            ],
            **about,
        }


def _values(one: Any) -> dict[str, Any]:
    """Metric to value for one slice; precision is class to value, and names of the baseline begin with `baseline/`."""
    values: dict[str, Any] = {PRECISION: {}}
    for each in one.metric_keys_and_values:
        key, value = each.key, each.value.double_value.value
        if key.is_diff:
            continue
        if key.model_name == _BASELINE:
            values[f"{_BASELINE}/{key.name}"] = value
        elif key.HasField("sub_key"):
            values[PRECISION][key.sub_key.class_id.value] = None if value != value else value
        else:
            values[key.name] = value
    return values


def slice_named(key: Any) -> tuple[str, str]:
    """What a slice is by, as reports call it, and its value."""
    return _NAMES[key.column], _text(key)


def _text(key: Any) -> str:
    kind = key.WhichOneof("kind")
    value = getattr(key, kind)
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else f"{value:g}"


def _interval(share: float, clips: int) -> tuple[float, float]:
    return wilson_interval(round(share * clips), clips)

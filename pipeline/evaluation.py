"""What the Evaluator measures, and when a model is blessed."""

from __future__ import annotations

from tensorflow_model_analysis.proto import config_pb2 as tfma  # recent releases have these names nowhere else

from pemt_tf.data import records
from pemt_tf.orchestration.nodes.finite_predictions import FiniteAnswers
from pemt_tf.orchestration.nodes.slice_accuracy import SliceAccuracy
from pemt_tf.orchestration.nodes.slices import SLICES
from pipeline.configs import EvaluatorConfig

TOP_1, TOP_5, SLICE_TOP_1, CLIPS, PRECISION = "top1", "top5", "slice_top1", "clips", "precision"


def evaluation(thresholds: EvaluatorConfig, labels: int) -> tfma.EvalConfig:
    """Top-1 and top-5, the precision of each label, and all of it for each slice.

    The accuracy in the slice of a label is that label's recall. Without a blessed model only the absolute thresholds
    count.

    Args:
        thresholds: what a model must reach.
        labels: size of the vocabulary.
    """
    cuts = [tfma.SlicingSpec(feature_keys=[feature]) for feature in SLICES.values()]
    top_1 = tfma.MetricConfig(class_name="SparseCategoricalAccuracy", config=f'"name": "{TOP_1}"')
    whole = _threshold(thresholds.accuracy_at_least, thresholds.accuracy_may_drop)
    top_1.per_slice_thresholds.append(_for_slices([tfma.SlicingSpec()], whole))
    judged = []
    if thresholds.slice_accuracy_at_least > 0 or thresholds.slice_accuracy_may_drop < 1:
        judged.append(_slice_accuracy(thresholds, cuts))
    name = f'"name": "{TOP_5}", "k": {min(5, labels)}'
    top_5 = tfma.MetricConfig(class_name="SparseTopKCategoricalAccuracy", config=name)
    if thresholds.top5_at_least > 0:
        least = _threshold(thresholds.top5_at_least, None)
        top_5.per_slice_thresholds.append(_for_slices([tfma.SlicingSpec()], least))
    precision = tfma.MetricConfig(class_name="Precision", config=f'"name": "{PRECISION}", "top_k": 1')
    return tfma.EvalConfig(
        model_specs=[
            tfma.ModelSpec(
                signature_name="serving_default", prediction_key="probabilities", label_key=records.LABEL_INDEX
            )
        ],
        slicing_specs=[tfma.SlicingSpec(), *cuts],
        metrics_specs=[
            tfma.MetricsSpec(
                metrics=[
                    tfma.MetricConfig(class_name="ExampleCount", config=f'"name": "{CLIPS}"'),
                    tfma.MetricConfig(class_name=FiniteAnswers.__name__, module=FiniteAnswers.__module__),
                    top_1,
                    top_5,
                    *judged,
                ]
            ),
            tfma.MetricsSpec(
                metrics=[precision],
                binarize=tfma.BinarizationOptions(class_ids=tfma.RepeatedInt32Value(values=range(labels))),
            ),
        ],
    )


def _slice_accuracy(thresholds: EvaluatorConfig, cuts: list[tfma.SlicingSpec]) -> tfma.MetricConfig:
    """TFMA's own `min_slice_size` takes a slice that it left out for one that missed the threshold."""
    each = _threshold(thresholds.slice_accuracy_at_least, thresholds.slice_accuracy_may_drop)
    return tfma.MetricConfig(
        class_name=SliceAccuracy.__name__,
        module=SliceAccuracy.__module__,
        config=f'"name": "{SLICE_TOP_1}", "least": {thresholds.slice_clips_at_least}',
        per_slice_thresholds=[_for_slices(cuts, each)],
    )


def _for_slices(specs: list[tfma.SlicingSpec], threshold: tfma.MetricThreshold) -> tfma.PerSliceMetricThreshold:
    """A metric's plain `threshold` would be one for every slice."""
    return tfma.PerSliceMetricThreshold(slicing_specs=specs, threshold=threshold)


def _threshold(at_least: float, may_drop: float | None) -> tfma.MetricThreshold:
    threshold = tfma.MetricThreshold(value_threshold=tfma.GenericValueThreshold(lower_bound={"value": at_least}))
    if may_drop is not None:
        threshold.change_threshold.direction = tfma.MetricDirection.HIGHER_IS_BETTER
        threshold.change_threshold.absolute.value = -may_drop
    return threshold

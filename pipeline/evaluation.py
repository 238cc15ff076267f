"""What the Evaluator measures, and when a model is blessed."""

from __future__ import annotations

from tensorflow_model_analysis.proto import config_pb2 as tfma  # recent releases have these names nowhere else

from pemt_tf.data import records
from pemt_tf.orchestration.nodes.finite_predictions import FinitePredictions
from pemt_tf.orchestration.nodes.metric_code import metric_config
from pemt_tf.orchestration.nodes.model_metrics import CLIPS, PRECISION, SLICE_TOP_1, TOP_1, TOP_5
from pemt_tf.orchestration.nodes.several_labels import AUC, RankingFigure
from pemt_tf.orchestration.nodes.several_labels import PRECISION as MEAN_PRECISION
from pemt_tf.orchestration.nodes.several_metrics import SLICE_PRECISION
from pemt_tf.orchestration.nodes.slice_accuracy import SliceAccuracy
from pemt_tf.orchestration.nodes.slices import SLICES
from pipeline.configs import EvaluatorConfig

# A metric's plain `threshold` would apply to every slice.
_ALL_CLIPS = [tfma.SlicingSpec()]
_EACH_SLICE = [tfma.SlicingSpec(feature_keys=[feature]) for feature in SLICES.values()]


def evaluation(thresholds: EvaluatorConfig, labels: int) -> tfma.EvalConfig:
    """Top-1 and top-5 and the precision of each label, over all clips and in each slice.

    The accuracy in the slice of a label is that label's recall. Without a blessed model only the absolute thresholds
    count.
    """
    top_1 = tfma.MetricConfig(class_name="SparseCategoricalAccuracy", config=f'"name": "{TOP_1}"')
    top_1.per_slice_thresholds.append(
        _threshold(_ALL_CLIPS, thresholds.accuracy_at_least, thresholds.accuracy_may_drop)
    )
    top_5 = tfma.MetricConfig(
        class_name="SparseTopKCategoricalAccuracy", config=f'"name": "{TOP_5}", "k": {min(5, labels)}'
    )
    if thresholds.top5_at_least > 0:
        top_5.per_slice_thresholds.append(_threshold(_ALL_CLIPS, thresholds.top5_at_least, None))
    metrics = [
        tfma.MetricConfig(class_name="ExampleCount", config=f'"name": "{CLIPS}"'),
        metric_config(FinitePredictions, name="finite_answers"),
        top_1,
        top_5,
    ]
    least, may_drop = thresholds.slice_accuracy_at_least, thresholds.slice_accuracy_may_drop
    if least > 0 or may_drop < 1:
        # TFMA's own `min_slice_size` takes a slice that it left out for one that missed the threshold.
        in_slices = metric_config(SliceAccuracy, name=SLICE_TOP_1, least=thresholds.slice_clips_at_least)
        in_slices.per_slice_thresholds.append(_threshold(_EACH_SLICE, least, may_drop))
        metrics.append(in_slices)
    precision = tfma.MetricConfig(class_name="Precision", config=f'"name": "{PRECISION}", "top_k": 1')
    by_label = tfma.BinarizationOptions(class_ids=tfma.RepeatedInt32Value(values=range(labels)))
    return tfma.EvalConfig(
        model_specs=[
            tfma.ModelSpec(
                signature_name="serving_default", prediction_key="probabilities", label_key=records.LABEL_INDEX
            )
        ],
        slicing_specs=[*_ALL_CLIPS, *_EACH_SLICE],
        metrics_specs=[
            tfma.MetricsSpec(metrics=metrics),
            tfma.MetricsSpec(metrics=[precision], binarize=by_label),
        ],
    )


def several_evaluation(thresholds: EvaluatorConfig, labels: int) -> tfma.EvalConfig:
    """Mean average precision and AUC, also of each label, over all clips and in each slice, of several labels a clip.

    The slices by label give only their numbers of clips: in them every clip has the label.
    """
    precision = metric_config(RankingFigure, name=MEAN_PRECISION, figure=MEAN_PRECISION, labels=labels, by_label=True)
    precision.per_slice_thresholds.append(_threshold(_ALL_CLIPS, thresholds.map_at_least, thresholds.map_may_drop))
    auc = metric_config(RankingFigure, name=AUC, figure=AUC, labels=labels, by_label=True)
    if thresholds.auc_at_least > 0:
        auc.per_slice_thresholds.append(_threshold(_ALL_CLIPS, thresholds.auc_at_least, None))
    metrics = [
        tfma.MetricConfig(class_name="ExampleCount", config=f'"name": "{CLIPS}"'),
        metric_config(FinitePredictions, name="finite_answers"),
        precision,
        auc,
    ]
    least, may_drop = thresholds.slice_map_at_least, thresholds.slice_map_may_drop
    if least > 0 or may_drop < 1:
        smallest = thresholds.slice_clips_at_least
        in_slices = metric_config(
            RankingFigure, name=SLICE_PRECISION, figure=MEAN_PRECISION, labels=labels, least=smallest
        )
        others = [spec for spec in _EACH_SLICE if list(spec.feature_keys) != [records.LABEL_STRING]]
        in_slices.per_slice_thresholds.append(_threshold(others, least, may_drop))
        metrics.append(in_slices)
    model = tfma.ModelSpec(signature_name="serving_default", prediction_key="scores", label_key=records.LABEL_INDEX)
    return tfma.EvalConfig(
        model_specs=[model],
        slicing_specs=[*_ALL_CLIPS, *_EACH_SLICE],
        metrics_specs=[tfma.MetricsSpec(metrics=metrics)],
    )


def _threshold(slices: list[tfma.SlicingSpec], at_least: float, may_drop: float | None) -> tfma.PerSliceMetricThreshold:
    threshold = tfma.MetricThreshold(value_threshold=tfma.GenericValueThreshold(lower_bound={"value": at_least}))
    if may_drop is not None:
        threshold.change_threshold.direction = tfma.MetricDirection.HIGHER_IS_BETTER
        threshold.change_threshold.absolute.value = -may_drop
    return tfma.PerSliceMetricThreshold(slicing_specs=slices, threshold=threshold)

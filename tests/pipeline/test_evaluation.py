"""Thresholds, and what is measured for them."""

import numpy as np
import pytest
import tensorflow as tf

pytest.importorskip("tfx", reason="the tfx extra is not installed")

from tfx import v1 as tfx  # noqa: F401, I001 (before tfma)
import tensorflow_model_analysis as tfma

from pemt_tf.errors import PemtError
from pipeline.configs import EvaluatorConfig
from pipeline.evaluation import evaluation
from pemt_tf.orchestration.nodes.finite_predictions import RequireFinitePredictions
from pemt_tf.orchestration.nodes.slice_accuracy import AccuracyCombiner

pytestmark = pytest.mark.tfx


def thresholds(config: tfma.EvalConfig) -> dict:
    """Metric to what is asked of it: cut, least value, least change."""
    found = {}
    for spec in config.metrics_specs:
        for metric in spec.metrics:
            assert not metric.HasField("threshold")  # TFMA would ask it of every slice
            found[metric.class_name] = [
                (
                    [list(cut.feature_keys) for cut in each.slicing_specs],
                    each.threshold.value_threshold.lower_bound.value,
                    each.threshold.change_threshold.absolute.value,
                )
                for each in metric.per_slice_thresholds
            ]
    return {name: asked for name, asked in found.items() if asked}


def test_by_default_only_the_accuracy_over_all_clips_counts():
    config = evaluation(EvaluatorConfig(), labels=12)

    assert thresholds(config) == {"SparseCategoricalAccuracy": [([[]], 0.5, -0.02)]}
    assert [list(cut.feature_keys) for cut in config.slicing_specs] == [
        [], ["clip/label/string"], ["slice/source"], ["slice/duration"], ["has_audio"]
    ]  # fmt: skip
    (top_5,) = [m.config for m in config.metrics_specs[0].metrics if m.class_name == "SparseTopKCategoricalAccuracy"]
    assert '"k": 5' in top_5
    assert list(config.metrics_specs[1].binarize.class_ids.values) == list(range(12))


def test_top_5_and_slices_count_where_it_is_asked_for():
    config = evaluation(EvaluatorConfig(0.6, 0.1, 0.9, 0.4, 0.2, 7), labels=3)

    slices = [["clip/label/string"], ["slice/source"], ["slice/duration"], ["has_audio"]]
    assert thresholds(config) == {
        "SparseCategoricalAccuracy": [([[]], 0.6, -0.1)],
        "SparseTopKCategoricalAccuracy": [([[]], 0.9, 0)],
        "SliceAccuracy": [(slices, 0.4, -0.2)],
    }
    (top_5,) = [m.config for m in config.metrics_specs[0].metrics if m.class_name == "SparseTopKCategoricalAccuracy"]
    assert '"k": 3' in top_5  # of three labels no five are most probable


def clip(label: int, *probabilities: float):
    return tfma.metrics.StandardMetricInputs(label=np.array([label]), prediction=np.array(probabilities))


@pytest.mark.parametrize(("least", "value"), [(1, 2 / 3), (3, 2 / 3), (4, 1.0)])
def test_a_slice_of_too_few_clips_passes(least, value):
    key = tfma.metrics.MetricKey(name="x")
    combiner = AccuracyCombiner(key, None, least)

    one = combiner.add_input(combiner.create_accumulator(), clip(1, 0.2, 0.8))
    two = combiner.add_input(combiner.create_accumulator(), clip(0, 0.2, 0.8))
    two = combiner.add_input(two, clip(0, 0.9, 0.1))

    assert combiner.extract_output(combiner.merge_accumulators([one, two])) == {key: pytest.approx(value)}
    assert combiner.extract_output(combiner.create_accumulator()) == {key: 1.0}


def test_answers_that_are_not_numbers_stop_the_evaluation():
    """TFMA takes NaN for label 0."""
    assert "FinitePredictions" in [
        metric.class_name for metric in evaluation(EvaluatorConfig(), 3).metrics_specs[0].metrics
    ]
    example = tf.train.Example()
    example.features.feature["clip/id"].bytes_list.value.append(b"dog/a.mp4")
    extracts = {tfma.INPUT_KEY: example.SerializeToString()}
    good, bad = np.array([0.25, 0.75], np.float32), np.array([np.nan, 0.75], np.float32)
    for answers in (good, {"probabilities": good, "labels": np.array([b"x"])}, {"candidate": {"probabilities": good}}):
        assert list(RequireFinitePredictions().process({**extracts, tfma.PREDICTIONS_KEY: answers})) == [1]
    for answers in (bad, {"probabilities": good, "embedding": bad}, {"candidate": good, "baseline": bad}):
        with pytest.raises(PemtError, match=r"the model's prediction for clip 'dog/a\.mp4' is NaN or infinite"):
            list(RequireFinitePredictions().process({**extracts, tfma.PREDICTIONS_KEY: answers}))

"""Several labels a clip in the pipeline: import, the metrics of the Evaluator, their thresholds, the gate, the card."""

import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf

pytest.importorskip("tfx", reason="the tfx extra is not installed")

from tfx import v1 as tfx  # noqa: F401, I001 (before tfma)
import tensorflow_model_analysis as tfma
from google.protobuf import text_format
from sklearn.metrics import average_precision_score, roc_auc_score
from tensorflow_metadata.proto.v0 import schema_pb2

from pemt_tf.config import Config
from pemt_tf.data import records
from pemt_tf.errors import PemtError
from pemt_tf.orchestration.nodes.card_writer import card_text
from pemt_tf.orchestration.nodes.clip_import import with_labels, with_one_label
from pemt_tf.orchestration.nodes.label_gate import require_same_prediction
from pemt_tf.orchestration.nodes.several_metrics import SeveralMetrics
from pemt_tf.orchestration.nodes.slices import add_slices
from pemt_tf.orchestration.running.run_report import metrics_in_words
from pemt_tf.report.run_files import RunFiles
from pipeline.configs import EvaluatorConfig, PipelineConfig
from pipeline.evaluation import several_evaluation
from pipeline.pipeline import SCHEMA_FILE, create_pipeline
from tests.pipeline.dataset import OVERRIDES, fake_clip, write_dataset
from tests.report.fake_run import write_run

pytestmark = pytest.mark.tfx

LABELS = ["dog", "horn", "rain", "siren"]  # no clip has the siren


def example(number: int, labels: list[int], scores: np.ndarray) -> tf.train.Example:
    """A record without content, whose scores stand in it."""
    names = [LABELS[label].encode() for label in labels]
    texts = {records.CLIP_ID: [b"clip%d" % number], records.DATA_PATH: [b"ab"[number % 2 : number % 2 + 1] + b"/x.mp4"]}
    numbers = {records.START: [0], records.END: [3_000_000], records.LABEL_INDEX: labels, "has_video": [1]}
    numbers |= {"has_audio": [1], records.IMAGE_HEIGHT: [24], records.IMAGE_WIDTH: [24]}
    made = tf.train.Example()
    feature = made.features.feature
    for name, values in {**texts, records.LABEL_STRING: names}.items():
        feature[name].bytes_list.value[:] = values
    for name, values in numbers.items():
        feature[name].int64_list.value[:] = values
    feature["scores"].float_list.value[:] = scores
    return add_slices(made)


class Model(tf.Module):
    """Repeats the scores of the record."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def predict(self, examples):
        parsed = tf.io.parse_example(examples, {"scores": tf.io.FixedLenFeature([len(LABELS)], tf.float32)})
        labels = tf.tile([LABELS], [tf.shape(examples)[0], 1])
        return {"scores": parsed["scores"], "labels": labels, "embedding": parsed["scores"][:, :2]}


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """The Evaluator's folder for 40 clips with one to three labels, their scores and their labels."""
    folder = tmp_path_factory.mktemp("evaluated")
    rng = np.random.default_rng(0)
    truth = rng.random((40, 4)) < [0.5, 0.4, 0.3, 0]
    truth[~truth.any(axis=1), 0] = True
    scores = rng.integers(0, 6, truth.shape).astype(np.float32) / 6 + 0.3 * truth.astype(np.float32)
    with tf.io.TFRecordWriter(str(folder / "clips")) as writer:
        for number, row in enumerate(truth):
            made = example(number, np.flatnonzero(row).tolist(), scores[number])
            writer.write(made.SerializeToString())
    model = Model()
    tf.saved_model.save(model, str(folder / "model"), {"serving_default": model.predict})
    config = several_evaluation(EvaluatorConfig(slice_map_at_least=0.01, slice_clips_at_least=30), len(LABELS))
    config = tfma.utils.update_eval_config_with_defaults(config, has_baseline=False, rubber_stamp=True)  # as TFX does
    schema = text_format.Parse(SCHEMA_FILE.read_text(), schema_pb2.Schema())
    shared = tfma.default_eval_shared_model(str(folder / "model"), eval_config=config)
    tfma.run_model_analysis(
        shared, config, data_location=str(folder / "clips"), output_path=str(folder / "out"), schema=schema
    )
    return folder / "out", scores, truth


def test_the_evaluators_figures_are_scikit_learns(evaluated):
    folder, scores, truth = evaluated
    found = SeveralMetrics.read(str(folder), LABELS, least=10)
    expected = average_precision_score(truth[:, :3], scores[:, :3], average=None)
    assert found.clips == 40 and found.baseline_mean_average_precision is None
    assert [row.average_precision for row in found.per_class] == pytest.approx([*expected, None], abs=1e-6)
    assert found.mean_average_precision == pytest.approx(expected.mean(), abs=1e-6)
    assert found.auc == pytest.approx(roc_auc_score(truth[:, :3], scores[:, :3]), abs=1e-6)
    assert [row.clips for row in found.per_class] == truth.sum(axis=0).tolist()
    assert [(each.by, each.value, each.clips) for each in found.slices] == [
        ("source", "a", 20), ("source", "b", 20), ("duration", "2 to 5 s", 40), ("has_audio", "1", 40)
    ]  # fmt: skip
    assert found.slices[0].mean_average_precision == pytest.approx(
        average_precision_score(truth[::2, :3], scores[::2, :3]), abs=1e-6
    )


def test_thresholds(evaluated):
    """Slices of too few clips pass; those of labels are not judged."""
    folder, _, _ = evaluated
    (validation,) = [tfma.load_validation_result(str(folder))]
    assert validation.validation_ok
    config = several_evaluation(EvaluatorConfig(map_at_least=0.3, map_may_drop=0.1, auc_at_least=0.6), 4)
    asked = {
        metric.config.partition('"name": "')[2].partition('"')[0]: [
            (each.threshold.value_threshold.lower_bound.value, each.threshold.change_threshold.absolute.value)
            for each in metric.per_slice_thresholds
        ]
        for metric in config.metrics_specs[0].metrics
    }
    assert asked == {"clips": [], "finite_answers": [], "mean_average_precision": [(0.3, -0.1)], "auc": [(0.6, 0)]}
    assert config.model_specs[0].prediction_key == "scores"


def test_import_keeps_every_label_only_where_they_are_learned():
    made = example(0, [0, 2], np.zeros(4))
    (kept,) = with_labels(made)
    assert list(kept.features.feature[records.LABEL_INDEX].int64_list.value) == [0, 2]
    (first,) = with_one_label(made)
    assert list(first.features.feature[records.LABEL_STRING].bytes_list.value) == [b"dog"]
    assert with_labels(example(1, [], np.zeros(4))) == with_one_label(example(1, [], np.zeros(4))) == []


def test_the_nodes_of_a_pipeline(tmp_path):
    """TFX caches the import by its properties, so these differ too."""
    clips = [fake_clip(seed, seed % 2) for seed in range(4)]
    clips[0] = dataclasses.replace(clips[0], labels=("quiet", "loud"), label_indices=(0, 1))
    write_dataset(tmp_path / "data", {"train": clips, "test": clips})
    made = {}
    for labels in ("single", "multiple"):
        overrides = (*OVERRIDES, f"finetune.labels={labels}")
        config = PipelineConfig(data=tmp_path / "data", root=tmp_path / "root", overrides=overrides, infra_check="off")
        made[labels] = {node.id: node for node in create_pipeline(config).components}
    one, several = (made[labels]["ImportExampleGen"] for labels in ("single", "multiple"))
    assert several.executor_spec.class_path.endswith("clip_import.EveryLabelImportExecutor")
    assert one.executor_spec.class_path.endswith("clip_import.ClipImportExecutor")
    assert one.exec_properties["custom_config"] != several.exec_properties["custom_config"]
    keys = [json.loads(made[labels]["Evaluator"].exec_properties["eval_config"])["model_specs"][0]["prediction_key"]
            for labels in ("single", "multiple")]  # fmt: skip
    assert keys == ["probabilities", "scores"]
    assert made["multiple"]["LabelGate"].exec_properties["prediction"] == "scores"


def test_a_last_model_of_one_label_stops_the_run():
    require_same_prediction("scores", "scores")
    with pytest.raises(PemtError, match=r"was trained with finetune\.labels=single, and this run has multiple, so"):
        require_same_prediction("probabilities", "scores")


def test_card_and_list_of_runs(evaluated, tmp_path):
    found = SeveralMetrics.read(str(evaluated[0]), LABELS, least=10)
    config = Config.from_preset("tiny").with_overrides(["finetune.labels=multiple"])
    files = RunFiles.read(write_run(tmp_path / "run", config, labels=LABELS))
    card = card_text("my pipeline", "test", files, found, blessed=True).replace("\N{NO-BREAK SPACE}", " ")
    share = f"{100 * found.mean_average_precision:.1f} %"
    (row,) = [line for line in card.splitlines() if line.startswith("| test |")]
    assert [cell.strip() for cell in row.split("|")][3:5] == ["40", share]
    assert "## Pipeline" in card and "| source | a | 20 |" in card and "top-1" not in card.lower()
    line = metrics_in_words({**dataclasses.asdict(found), "split": "test", "baseline_mean_average_precision": 0.5})
    assert line.startswith(f"mean average precision {found.mean_average_precision:.1%}, AUC {found.auc:.3f}, d' ")
    assert line.endswith(" on 40 clips of test (last blessed model: 50.0%)")

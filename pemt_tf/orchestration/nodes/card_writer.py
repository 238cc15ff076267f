"""CardWriter: writes the model card and the metrics of every evaluated model, blessed or not."""

from __future__ import annotations

import dataclasses
from typing import Any

from tfx import types
from tfx.dsl.components.base.base_executor import BaseExecutor
from tfx.dsl.components.base.executor_spec import ExecutorClassSpec
from tfx.types import artifact_utils, standard_artifacts
from tfx.types.artifact import Artifact

from pemt_tf.files.strict_json import json_text
from pemt_tf.files.whole_file import write_text
from pemt_tf.models.parameter_report import parameter_report
from pemt_tf.orchestration.nodes.artifact_paths import local_path
from pemt_tf.orchestration.nodes.model_metrics import ModelMetrics
from pemt_tf.orchestration.nodes.own_node import Artifacts, OwnNode
from pemt_tf.orchestration.nodes.several_metrics import SeveralMetrics
from pemt_tf.report.model_card import code, grid, model_card, plain
from pemt_tf.report.run_commands import dataset_card
from pemt_tf.report.run_files import RunFiles
from pemt_tf.report.several_tables import decimals
from pemt_tf.report.wording import percent

RUN, EVALUATION, BLESSING, CARD = "model_run", "evaluation", "blessing", "card"
NAME, SPLIT, LEAST = "pipeline", "split", "least"
CARD_FILE, METRICS_FILE = "MODEL_CARD.md", "metrics.json"


class ModelCard(Artifact):
    """A model card: `MODEL_CARD.md`, and `metrics.json` for programs."""

    TYPE_NAME = "pemt.ModelCard"  # Kubeflow requires a namespace


class CardWriterExecutor(BaseExecutor):
    """Combines the run's files with the Evaluator's results."""

    def Do(self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: dict[str, Any]) -> None:  # noqa: N802
        """Writes `MODEL_CARD.md` and `metrics.json`."""
        files = RunFiles.read(local_path(artifact_utils.get_single_uri(input_dict[RUN])))
        labels = list(files.description["labels"])
        evaluation = artifact_utils.get_single_uri(input_dict[EVALUATION])
        kind = SeveralMetrics if files.config.finetune.several else ModelMetrics
        metrics = kind.read(evaluation, labels, exec_properties[LEAST])
        blessing = artifact_utils.get_single_instance(input_dict[BLESSING])
        blessed = blessing.get_int_custom_property("blessed") == 1
        folder = local_path(artifact_utils.get_single_uri(output_dict[CARD]))
        text = card_text(exec_properties[NAME], exec_properties[SPLIT], files, metrics, blessed)
        write_text(folder / CARD_FILE, text)
        about = {"split": exec_properties[SPLIT], "blessed": blessed}
        write_text(folder / METRICS_FILE, json_text({**about, **dataclasses.asdict(metrics)}, indent=2) + "\n")


class CardWriter(
    OwnNode,
    inputs={
        RUN: standard_artifacts.ModelRun,
        EVALUATION: standard_artifacts.ModelEvaluation,
        BLESSING: standard_artifacts.ModelBlessing,
    },
    outputs={CARD: ModelCard},
    parameters={NAME: str, SPLIT: str, LEAST: int},
):
    """The node. `split` judges the model; slices of fewer than `least` clips are not shown."""

    EXECUTOR_SPEC = ExecutorClassSpec(CardWriterExecutor)

    def __init__(
        self,
        model_run: types.BaseChannel,
        evaluation: types.BaseChannel,
        blessing: types.BaseChannel,
        pipeline: str,
        split: str,
        least: int,
    ):
        inputs = {RUN: model_run, EVALUATION: evaluation, BLESSING: blessing}
        super().__init__(**inputs, **{NAME: pipeline, SPLIT: split, LEAST: least})


def card_text(pipeline: str, split: str, files: RunFiles, metrics: ModelMetrics | SeveralMetrics, blessed: bool) -> str:
    """The card of `pemt report`, with a section on the pipeline."""
    about = {
        "selection": files.description.get("selection"),
        "views": files.config.geometry.segments,
        "crops": 1,
        "data_hash": files.description.get("data_hash"),
    }
    evaluation = metrics.as_evaluation(split, list(files.description["labels"]), **about)
    files = dataclasses.replace(files, evaluations={split: evaluation})
    card = model_card(files, parameter_report(files.config.model), dataset_card(files, None))
    _, _, rest = card.partition("\n")
    return f"# Model card: {plain(pipeline)}\n{rest}\n{_pipeline_section(pipeline, metrics, blessed)}\n"


def _pipeline_section(pipeline: str, metrics: ModelMetrics | SeveralMetrics, blessed: bool) -> str:
    verdict = "blessed" if blessed else "not blessed, and not pushed"
    compared = "there was no blessed model to compare with"
    if isinstance(metrics, SeveralMetrics):
        return _section_of_several(pipeline, metrics, verdict, compared)
    if metrics.baseline_top1 is not None:
        compared = f"the last blessed model has a top-1 of {percent(metrics.baseline_top1, 1)} on the same clips"
    rows = [
        (each.by, plain(each.value), f"{each.clips:,}", percent(each.top1, 1), percent(each.top5, 1))
        for each in metrics.slices
    ]
    slices = grid(("by", "slice", "clips", "top-1", "top-5"), rows) if rows else "No slice has enough clips."
    named = [
        (plain(label), "never named" if value is None else percent(value, 1))
        for label, value in metrics.precision.items()
    ]
    return "\n\n".join(
        (
            f"## Pipeline\n\nMade by the pipeline {code(pipeline)}: {verdict}; {compared}.",
            slices,
            grid(("label", "precision"), named),
        )
    )


def _section_of_several(pipeline: str, metrics: SeveralMetrics, verdict: str, compared: str) -> str:
    if metrics.baseline_mean_average_precision is not None:
        share = percent(metrics.baseline_mean_average_precision, 1)
        compared = f"the last blessed model has a mean average precision of {share} on the same clips"
    rows = [
        (each.by, plain(each.value), f"{each.clips:,}", _share(each.mean_average_precision), decimals(each.auc, 3))
        for each in metrics.slices
    ]
    columns = ("by", "slice", "clips", "mean average precision", "AUC")
    slices = grid(columns, rows) if rows else "No slice has enough clips."
    return f"## Pipeline\n\nMade by the pipeline {code(pipeline)}: {verdict}; {compared}.\n\n{slices}"


def _share(value: float | None) -> str:
    return "not defined" if value is None else percent(value, 1)

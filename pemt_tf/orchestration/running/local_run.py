"""`tfx pipeline run` on the local engine: create or update, run, wait, report."""

from __future__ import annotations

import json
import sys
from collections.abc import MutableMapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click
from ml_metadata import errors
from tfx.orchestration.pipeline import Pipeline
from tfx.tools.cli import labels
from tfx.tools.cli.handler.local_dag_runner_patcher import LocalDagRunnerPatcher
from tfx.tools.cli.handler.local_handler import LocalHandler

from pemt_tf.errors import PemtError
from pemt_tf.orchestration.running.run_history import RunHistory
from pemt_tf.orchestration.running.run_report import RunReport
from pemt_tf.orchestration.running.run_watch import watch


class _Patcher(LocalDagRunnerPatcher):
    """Catches the pipeline that a file hands to the local runner, instead of running it."""

    pipeline: Pipeline

    def _before_run(self, runner: object, pipeline: Pipeline, context: MutableMapping[str, Any]) -> None:
        self.pipeline = pipeline


class _Handler(LocalHandler):
    """TFX's handler, with create or update in one call, and the path of a created pipeline."""

    def create_or_update(self) -> Pipeline:
        """Stores the pipeline under its name, new or not, and returns it."""
        patcher = _Patcher()
        context = self.execute_dsl(patcher)
        self._save_pipeline({key: context[key] for key in (patcher.PIPELINE_NAME, patcher.PIPELINE_ROOT)})
        return patcher.pipeline

    def stored_path(self, name: str) -> str:
        """The file that a pipeline was created from."""
        self._check_pipeline_existence(name)
        stored = json.loads(Path(self._get_pipeline_args_path(name)).read_text(encoding="utf-8"))
        return stored[labels.PIPELINE_DSL_PATH]


def run_pipeline(path: str | None, name: str | None) -> int:
    """Runs a pipeline and shows its progress and its result; returns 0 only if every node is complete or cached."""
    path = _existing_path(path, name)
    pipeline = _Handler({labels.ENGINE_FLAG: "local", labels.PIPELINE_DSL_PATH: path}).create_or_update()
    history = RunHistory(pipeline.metadata_connection_config, pipeline.pipeline_info.pipeline_name)
    before, nodes = history.run_ids(), [node.id for node in pipeline.components]
    code = watch([sys.executable, path], pipeline.pipeline_info.pipeline_name, partial(_now, history, before, nodes))
    report = history.report(before, nodes)
    if report.begun or not code:
        click.echo("\n".join([*report.lines(), *reasons(report)]))
    if code < 0:
        raise PemtError(f"the run was killed by signal {-code}; if memory was short, use a smaller batch")
    return code or int(not report.succeeded)


def _now(history: RunHistory, before: set[int], nodes: list[str]) -> RunReport | None:
    try:
        return history.report(before, nodes, alive=True)
    except errors.StatusError:  # the database is busy
        return None


def load_pipeline(path: str | None, name: str | None) -> Pipeline:
    """Loads a pipeline without storing or running it; arguments as for `run_pipeline`."""
    patcher = _Patcher()
    handler = _Handler({labels.ENGINE_FLAG: "local", labels.PIPELINE_DSL_PATH: _existing_path(path, name)})
    handler.execute_dsl(patcher)
    return patcher.pipeline


def _existing_path(path: str | None, name: str | None) -> str:
    path = path or _Handler({labels.ENGINE_FLAG: "local"}).stored_path(name or "")
    if not Path(path).is_file():
        raise PemtError(f"no pipeline file at {path}; give the path of a file like pipeline/local_runner.py")
    return path


def slice_in_words(keys: Sequence[Any]) -> str:
    """Words such as ` for label 'dog'`; empty for all clips together."""
    cuts = [f"{key.column.rpartition('/')[2]} {getattr(key, key.WhichOneof('kind'))!r}" for key in keys]
    return f" for {', '.join(cuts)}".replace("b'", "'") if cuts else ""


def reasons(report: RunReport) -> list[str]:
    """Why a model was not blessed: a line for each threshold that it missed."""
    if report.blessed is not False or not report.evaluation:
        return []
    import tensorflow_model_analysis as tfma

    lines = []
    found = tfma.load_validation_result(report.evaluation)
    for checked in found.metric_validations_per_slice:
        where = slice_in_words(checked.slice_key.single_slice_keys)
        for failure in checked.failures:
            threshold, value = failure.metric_threshold, failure.metric_value.double_value.value
            if failure.metric_key.is_diff:
                needed = f"a change against the last blessed model of {threshold.change_threshold.absolute.value:+g}"
            else:
                needed = f"{threshold.value_threshold.lower_bound.value:g}"
            lines.append(f"  {failure.metric_key.name}{where} is {value:.4g}, at least {needed} is needed")
    for missing in found.missing_slices:
        lines.append(f"  no slice by {', '.join(missing.feature_keys)} has enough clips to be judged")
    return lines

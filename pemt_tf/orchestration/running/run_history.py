"""The runs of a pipeline, read from ML Metadata: TFX does not list them for the local engine."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path
from typing import Any

from ml_metadata import MetadataStore
from ml_metadata.proto import metadata_store_pb2

from pemt_tf.orchestration.running.data_spans import span_in_words
from pemt_tf.orchestration.running.run_report import FINE, NOT_RUN, RUNNING, STOPPED, RunReport

METRICS_FILE = "metrics.json"
_TRIES = 5


class RunHistory:
    """The runs of one pipeline in a metadata database."""

    def __init__(self, connection: metadata_store_pb2.ConnectionConfig, pipeline: str, dated: bool = False):
        self._store = _open(connection)
        self._pipeline, self._dated = pipeline, dated

    def run_ids(self) -> set[int]:
        """Ids of all runs in the database, of all pipelines."""
        return {context.id for context in self._store.get_contexts_by_type("pipeline_run")}

    def report(self, before: set[int], nodes: list[str], alive: bool = False) -> RunReport:
        """Reports the latest run that is not in `before`; all nodes are NOT RUN if none has begun since."""
        found = [run for run in sorted(self.run_ids() - before) if self._executions(run)]
        return self._report(found[-1], nodes, alive) if found else RunReport(dict.fromkeys(nodes, NOT_RUN))

    def latest(self, count: int, alive: bool = False) -> list[RunReport]:
        """Reports the last runs of the pipeline, the newest first, without nodes that they did not reach."""
        reports: list[RunReport] = []
        for run in sorted(self.run_ids(), reverse=True):
            if len(reports) == count:
                break
            nodes = [node for node, _ in self._executions(run)]
            if nodes:
                reports.append(self._report(run, nodes, alive and not reports))
        return reports

    def _executions(self, run: int) -> list[tuple[str, metadata_store_pb2.Execution]]:
        """Nodes and their executions, in order."""
        found = sorted(self._store.get_executions_by_context(run), key=lambda each: each.id)
        named = [(self._node_of(execution.id), execution) for execution in found]
        return [(node, execution) for node, execution in named if node]

    def _report(self, run: int, nodes: list[str], alive: bool) -> RunReport:
        states, seconds, outputs, began = dict.fromkeys(nodes, NOT_RUN), {}, [], []
        for node, execution in self._executions(run):
            if node not in states:
                continue
            state = metadata_store_pb2.Execution.State.Name(execution.last_known_state)
            if state in ("RUNNING", "NEW"):
                state = RUNNING if alive else STOPPED
            states[node] = state
            start, end = execution.create_time_since_epoch / 1e3, execution.last_update_time_since_epoch / 1e3
            began.append(start)
            seconds[node] = max(0.0, (time.time() if state == RUNNING else end) - start)
            outputs += self._outputs_of(execution.id) if state in FINE else []
        return RunReport(states, seconds=seconds, began=min(began, default=0.0), **self._verdict(outputs))

    def _node_of(self, execution: int) -> str:
        prefix = f"{self._pipeline}."
        contexts = [c.name for c in self._store.get_contexts_by_execution(execution) if c.type == "node"]
        return next((name.removeprefix(prefix) for name in contexts if name.startswith(prefix)), "")

    def _outputs_of(self, execution: int) -> list[metadata_store_pb2.Artifact]:
        events = self._store.get_events_by_execution_ids([execution])
        written = [e.artifact_id for e in events if e.type == metadata_store_pb2.Event.OUTPUT]
        return list(self._store.get_artifacts_by_id(written))

    def _verdict(self, outputs: list[metadata_store_pb2.Artifact]) -> dict[str, Any]:
        verdict: dict[str, Any] = {}
        for artifact in outputs:
            said = artifact.custom_properties
            if artifact.type == "Examples" and "span" in said and said["span"].int_value:
                version = said["version"].int_value if "version" in said else None
                verdict["data"] = span_in_words(said["span"].int_value, version, self._dated)
            elif artifact.type == "ModelBlessing" and "blessed" in said:
                verdict["blessed"] = said["blessed"].int_value == 1
            elif artifact.type == "ModelEvaluation":
                verdict["evaluation"] = artifact.uri
            elif artifact.type == "pemt.ModelCard":
                verdict |= {"card": artifact.uri, "metrics": _read_metrics(artifact.uri)}
            elif artifact.type == "PushedModel" and said["pushed"].int_value == 1:
                verdict["pushed"] = said["pushed_destination"].string_value
                verdict["unchanged"] = "unchanged" in said and said["unchanged"].int_value == 1
        return verdict


def _open(connection: metadata_store_pb2.ConnectionConfig) -> MetadataStore:
    """Opens the database; another process may be creating its tables at this moment."""
    for _ in range(_TRIES - 1):
        with contextlib.suppress(RuntimeError):
            return MetadataStore(connection)
        time.sleep(1)
    return MetadataStore(connection)


def _read_metrics(folder: str) -> dict[str, Any]:
    """The metrics that CardWriter wrote; empty if its folder was removed."""
    try:
        return json.loads((Path(folder) / METRICS_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}

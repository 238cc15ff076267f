"""What became of a run, read from ML Metadata: TFX cannot tell it for the local engine."""

from __future__ import annotations

from dataclasses import dataclass

from ml_metadata import MetadataStore
from ml_metadata.proto import metadata_store_pb2

NOT_RUN = "NOT RUN"
STOPPED = "STOPPED"  # it was running when its process ended
_FINE = ("COMPLETE", "CACHED")


@dataclass(frozen=True)
class RunReport:
    """One run of a pipeline.

    Attributes:
        states: node to COMPLETE, CACHED, FAILED, CANCELED, STOPPED or NOT RUN, in the pipeline's order.
        blessed: whether the Evaluator blessed the model; None if it did not judge one.
        evaluation: folder of the Evaluator's results, if there is one.
        pushed: folder of the pushed version, if the model was pushed; its name is the version.
    """

    states: dict[str, str]
    blessed: bool | None = None
    evaluation: str = ""
    pushed: str = ""

    @property
    def succeeded(self) -> bool:
        """Whether every node did its work or had it done before."""
        return all(state in _FINE for state in self.states.values())

    def lines(self) -> list[str]:
        """For people."""
        width = max(map(len, self.states), default=0)
        lines = [f"{node:{width}}  {state}" for node, state in self.states.items()]
        if self.blessed is not None:
            lines.append(f"model blessed: {'yes' if self.blessed else 'no, so it is not pushed'}")
        if self.pushed:
            folder, _, version = self.pushed.rpartition("/")
            lines.append(f"model pushed: version {version} in {folder}")
        return lines


class RunHistory:
    """The runs of one pipeline in a metadata database.

    Args:
        connection: of the database.
        pipeline: name of the pipeline.
    """

    def __init__(self, connection: metadata_store_pb2.ConnectionConfig, pipeline: str):
        self._store = MetadataStore(connection)
        self._pipeline = pipeline

    def run_ids(self) -> set[int]:
        """Identifies the runs begun so far, of all pipelines in the database."""
        return {context.id for context in self._store.get_contexts_by_type("pipeline_run")}

    def report(self, before: set[int], nodes: list[str]) -> RunReport:
        """Reports the latest run.

        Args:
            before: runs that it cannot be, as `run_ids` gave them.
            nodes: the pipeline's nodes, in order.

        Returns:
            The report; all nodes are NOT RUN if no run has begun since.
        """
        states, outputs = dict.fromkeys(nodes, NOT_RUN), []
        for run in sorted(self.run_ids() - before):
            for execution in self._store.get_executions_by_context(run):
                node = self._node_of(execution.id)
                if node in states:
                    state = metadata_store_pb2.Execution.State.Name(execution.last_known_state)
                    states[node] = STOPPED if state in ("RUNNING", "NEW") else state
                    outputs += self._outputs_of(execution.id) if states[node] in _FINE else []
        return RunReport(states, **self._verdict(outputs))

    def _node_of(self, execution: int) -> str:
        prefix = f"{self._pipeline}."
        contexts = [c.name for c in self._store.get_contexts_by_execution(execution) if c.type == "node"]
        return next((name.removeprefix(prefix) for name in contexts if name.startswith(prefix)), "")

    def _outputs_of(self, execution: int) -> list[metadata_store_pb2.Artifact]:
        events = self._store.get_events_by_execution_ids([execution])
        written = [e.artifact_id for e in events if e.type == metadata_store_pb2.Event.OUTPUT]
        return list(self._store.get_artifacts_by_id(written))

    @staticmethod
    def _verdict(outputs: list[metadata_store_pb2.Artifact]) -> dict:
        verdict = {}
        for artifact in outputs:
            said = artifact.custom_properties
            if artifact.type == "ModelBlessing" and "blessed" in said:
                verdict["blessed"] = said["blessed"].int_value == 1
            elif artifact.type == "ModelEvaluation":
                verdict["evaluation"] = artifact.uri
            elif artifact.type == "PushedModel" and said["pushed"].int_value == 1:
                verdict["pushed"] = said["pushed_destination"].string_value
        return verdict

"""The report of a run, from a metadata database that the test fills itself."""

import pytest

pytest.importorskip("ml_metadata", reason="the tfx extra is not installed")

from ml_metadata import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd

from pipeline.run_report import RunHistory, RunReport

pytestmark = pytest.mark.tfx
NODES = ["Importer", "Trainer", "Evaluator", "Pusher"]


class Database:
    """An in-memory database with runs as TFX records them."""

    def __init__(self, path):
        self.connection = mlmd.ConnectionConfig()
        self.connection.sqlite.filename_uri = str(path)
        self.connection.sqlite.connection_mode = mlmd.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
        self.store = MetadataStore(self.connection)
        self.run_type = self.store.put_context_type(mlmd.ContextType(name="pipeline_run"))
        self.node_type = self.store.put_context_type(mlmd.ContextType(name="node"))
        self.execution_type = self.store.put_execution_type(mlmd.ExecutionType(name="work"))

    def run(self, name: str, states: dict[str, str], pipeline: str = "mine", outputs: dict | None = None) -> None:
        """Adds a run; `outputs` is node to artifacts of (type, custom properties)."""
        run = mlmd.Context(type_id=self.run_type, name=name)
        for node, state in states.items():
            execution = mlmd.Execution(type_id=self.execution_type, last_known_state=mlmd.Execution.State.Value(state))
            written = [self.artifact(*each) for each in (outputs or {}).get(node, [])]
            known = self.store.get_context_by_type_and_name("node", f"{pipeline}.{node}")
            where = known or mlmd.Context(type_id=self.node_type, name=f"{pipeline}.{node}")
            found = self.store.get_context_by_type_and_name("pipeline_run", name)
            self.store.put_execution(execution, written, [found or run, where])

    def artifact(self, kind: str, properties: dict):
        """An output artifact with its event."""
        artifact = mlmd.Artifact(type_id=self.store.put_artifact_type(mlmd.ArtifactType(name=kind)), uri=f"/{kind}")
        for name, value in properties.items():
            field = "int_value" if isinstance(value, int) else "string_value"
            setattr(artifact.custom_properties[name], field, value)
        return artifact, mlmd.Event(type=mlmd.Event.OUTPUT)


@pytest.fixture
def database(tmp_path) -> Database:
    return Database(tmp_path / "metadata.sqlite")


def test_a_run_that_died_shows_what_was_running_and_what_never_ran(database):
    database.run("one", {"Importer": "CACHED", "Trainer": "RUNNING"})

    report = RunHistory(database.connection, "mine").report(set(), NODES)

    assert report.states == {"Importer": "CACHED", "Trainer": "STOPPED", "Evaluator": "NOT RUN", "Pusher": "NOT RUN"}
    assert not report.succeeded and report.blessed is None


def test_only_the_new_run_of_the_pipeline_counts(database):
    history = RunHistory(database.connection, "mine")
    database.run("old", dict.fromkeys(NODES, "COMPLETE"))
    before = history.run_ids()
    database.run("of another pipeline", dict.fromkeys(NODES, "COMPLETE"), pipeline="other")
    assert set(history.report(before, NODES).states.values()) == {"NOT RUN"}

    database.run("new", {"Importer": "COMPLETE", "Trainer": "FAILED"})

    assert history.report(before, NODES).states["Trainer"] == "FAILED"


def test_the_verdict_comes_from_what_the_nodes_wrote(database):
    outputs = {
        "Evaluator": [("ModelBlessing", {"blessed": 1}), ("ModelEvaluation", {})],
        "Pusher": [("PushedModel", {"pushed": 1, "pushed_destination": "/models/17"})],
    }
    database.run("one", dict.fromkeys(NODES, "COMPLETE"), outputs=outputs)

    report = RunHistory(database.connection, "mine").report(set(), NODES)

    assert report == RunReport(dict.fromkeys(NODES, "COMPLETE"), True, "/ModelEvaluation", "/models/17")
    assert report.succeeded
    assert report.lines() == [
        "Importer   COMPLETE",
        "Trainer    COMPLETE",
        "Evaluator  COMPLETE",
        "Pusher     COMPLETE",
        "model blessed: yes",
        "model pushed: version 17 in /models",
    ]


def test_a_model_that_was_not_blessed_is_said_to_be_not_pushed(database):
    outputs = {"Evaluator": [("ModelBlessing", {"blessed": 0})], "Pusher": [("PushedModel", {"pushed": 0})]}
    database.run("one", dict.fromkeys(NODES, "COMPLETE"), outputs=outputs)

    report = RunHistory(database.connection, "mine").report(set(), NODES)

    assert report.blessed is False and report.pushed == "" and report.succeeded
    assert report.lines()[-1] == "model blessed: no, so it is not pushed"

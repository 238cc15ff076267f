"""The report of a run, from a metadata database that the test fills itself."""

import pytest

pytest.importorskip("ml_metadata", reason="the tfx extra is not installed")

from ml_metadata import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd

from pemt_tf.orchestration.running.run_history import RunHistory

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

    def card(self, run: str, node: str, folder: str) -> None:
        """Adds a model card to what a node wrote."""
        context = self.store.get_context_by_type_and_name("pipeline_run", run)
        of_node = {
            each.id
            for each in self.store.get_executions_by_context(
                self.store.get_context_by_type_and_name("node", f"mine.{node}").id
            )
        }
        (execution,) = [each for each in self.store.get_executions_by_context(context.id) if each.id in of_node]
        self.store.put_execution(execution, [self.artifact("pemt.ModelCard", {}, folder)], [context])

    def artifact(self, kind: str, properties: dict, uri: str = ""):
        """An output artifact with its event."""
        kind_id = self.store.put_artifact_type(mlmd.ArtifactType(name=kind))
        artifact = mlmd.Artifact(type_id=kind_id, uri=uri or f"/{kind}")
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
    assert report.outcome == "stopped at Trainer"
    alive = RunHistory(database.connection, "mine").report(set(), NODES, alive=True)
    assert alive.states["Trainer"] == "RUNNING" and alive.outcome == "running, at Trainer"


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

    assert (report.blessed, report.evaluation, report.pushed) == (True, "/ModelEvaluation", "/models/17")
    assert report.succeeded and report.outcome == "model version 17 pushed"
    lines = [line.split() for line in report.lines()]
    assert lines[:4] == [[node, "COMPLETE", "0:00"] for node in NODES]
    assert [" ".join(line) for line in lines[4:]] == ["model blessed: yes", "model pushed: version 17 in /models"]


def test_a_version_that_was_there_before_is_not_said_to_be_pushed(database):
    noted = {"pushed": 1, "pushed_destination": "/models/17", "unchanged": 1}
    database.run("one", dict.fromkeys(NODES, "COMPLETE"), outputs={"Pusher": [("PushedModel", noted)]})

    report = RunHistory(database.connection, "mine").report(set(), NODES)

    assert report.lines()[-1] == "model already in service: version 17 in /models"
    assert report.outcome == "model version 17 unchanged"


def test_a_model_that_was_not_blessed_is_said_to_be_not_pushed(database):
    outputs = {"Evaluator": [("ModelBlessing", {"blessed": 0})], "Pusher": [("PushedModel", {"pushed": 0})]}
    database.run("one", dict.fromkeys(NODES, "COMPLETE"), outputs=outputs)

    report = RunHistory(database.connection, "mine").report(set(), NODES)

    assert report.blessed is False and report.pushed == "" and report.succeeded
    assert report.lines()[-1] == "model blessed: no, so it is not pushed"


def test_the_last_runs_come_newest_first_and_without_those_of_others(database, tmp_path):
    (tmp_path / "metrics.json").write_text(
        '{"split": "test", "clips": 8, "top1": 0.75, "top5": 1, "baseline_top1": 0.5}'
    )
    outputs = {
        "Importer": [("Examples", {"span": 20782, "version": 3})],
        "Evaluator": [("ModelBlessing", {"blessed": 0})],
    }
    database.run("one", dict.fromkeys(NODES[:2], "COMPLETE"))
    database.run("two", dict.fromkeys(NODES, "COMPLETE"), pipeline="other")
    database.run("three", dict.fromkeys(NODES, "COMPLETE"), outputs=outputs)
    database.card("three", "Evaluator", str(tmp_path))
    database.run("four", {"Importer": "CACHED", "Trainer": "RUNNING"})

    history = RunHistory(database.connection, "mine", dated=True)
    reports = history.latest(2)

    assert [report.outcome for report in reports] == ["stopped at Trainer", "model not blessed, not pushed"]
    assert [report.outcome for report in history.latest(9, alive=True)] == [
        "running, at Trainer",
        "model not blessed, not pushed",
        "complete",
    ]
    assert reports[0].began > 1.7e9  # seconds since 1970, not milliseconds
    assert [line.strip() for line in reports[1].history_lines()[1:3]] == [
        "data: 2026-11-25, version 3",
        "top-1 75.0%, top-5 100.0% on 8 clips of test (last blessed model: 50.0%)",
    ]

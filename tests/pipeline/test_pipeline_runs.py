"""The pipeline end to end, as a user runs it: killed, run again, cached, a worse model, a failure, poisoned data.

One small data set and one folder serve all tests, because each run starts TFX anew. The pipeline is a copy, as
`pemt pipeline init` makes it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from pemt_tf.data import records
from pemt_tf.data.clip_source import ClipSource
from pemt_tf.data.input_pipeline import evaluation_clips, model_inputs
from pemt_tf.orchestration.nodes import slices
from pemt_tf.orchestration.nodes.cpp_loader import find_compiler
from pemt_tf.orchestration.template_copy import copy_template
from pemt_tf.training.run_directory import RunDirectory
from tests.pipeline.dataset import OVERRIDES, fake_clip, write_dataset

pytestmark = [
    pytest.mark.tfx,
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("tfx") is None, reason="the tfx extra is not installed"),
]

REPOSITORY = Path(__file__).resolve().parents[2]
NODES = [
    "ImportExampleGen",
    "ImportSchemaGen",
    "latest_blessed_model",
    "LabelGate",
    "StatisticsGen",
    "ExampleValidator",
    "DataGate",
    "Pretrainer",
    "Finetuner",
    "Evaluator",
    "ServingCheck",
    "CardWriter",
    "Pusher",
]
JUDGED_ANEW = {"latest_blessed_model", "Evaluator", "CardWriter", "Pusher"}
STATES = {0: "UNKNOWN", 1: "NEW", 2: "RUNNING", 3: "COMPLETE", 4: "FAILED", 5: "CACHED", 6: "CANCELED"}
QUERY = """
    SELECT run.id, node.name, execution.last_known_state
    FROM Execution AS execution
    JOIN Association AS of_run ON of_run.execution_id = execution.id
    JOIN Context AS run ON run.id = of_run.context_id
    JOIN Type AS run_type ON run_type.id = run.type_id AND run_type.name = 'pipeline_run'
    JOIN Association AS of_node ON of_node.execution_id = execution.id
    JOIN Context AS node ON node.id = of_node.context_id
    JOIN Type AS node_type ON node_type.id = node.type_id AND node_type.name = 'node'
    ORDER BY run.id, execution.id
"""
# Several commands in one process: each process takes half a minute to load TFX. NAME=value sets a variable.
COMMANDS = """
import os, sys
from pemt_tf.orchestration.running.command_group import commands
from pemt_tf.orchestration.running.quiet_tfx import silence_libraries
silence_libraries()
for argument in sys.argv[1:]:
    name, equals, value = argument.partition("=")
    if equals:
        os.environ[name] = value
        continue
    for stream in (sys.stdout, sys.stderr):
        print(f"$ tfx {argument}", file=stream, flush=True)
    try:
        commands.main(argument.split(), prog_name="tfx", standalone_mode=False)
    except SystemExit as done:
        print("exit code", done.code, flush=True)
"""


@dataclass
class Workplace:
    """The folders of this module's runs.

    Attributes:
        folder: of everything.
        killed: what the first command printed, whose run was killed while it fine-tuned.
        rows: lines of that fine-tuning's log when it was killed.
        meanwhile: what a second run and `--status` printed while the first one ran.
        first: what the second command left: the run that goes on to the end.
        out, err: what each later command printed.
        pushed: versions after the second command.
    """

    folder: Path
    killed: tuple[int, str, str] = (0, "", "")
    rows: list[str] = field(default_factory=list)
    meanwhile: list[subprocess.CompletedProcess] = field(default_factory=list)
    first: subprocess.CompletedProcess | None = None
    out: dict[str, str] = field(default_factory=dict)
    err: dict[str, str] = field(default_factory=dict)
    pushed: list[str] = field(default_factory=list)

    @property
    def root(self) -> Path:
        return self.folder / "root"

    @property
    def runner(self) -> Path:
        return self.folder / "project" / "pipeline" / "local_runner.py"

    def start(self, *arguments: str, **changes: str) -> subprocess.Popen:
        """Starts Python in a folder of its own, so that relative paths and stray files show."""
        clean = {key: value for key, value in os.environ.items() if not key.startswith("PEMT_PIPELINE_")}
        settings = {
            "PYTHONPATH": str(REPOSITORY),
            "LOCAL_HOME": str(self.folder / "home"),
            "PEMT_PIPELINE_NAME": "small",
            "PEMT_PIPELINE_DATA": "../data/day-{YYYY}-{MM}-{DD}/v{VERSION}",
            "PEMT_PIPELINE_ROOT": "../root",
            "PEMT_PIPELINE_OVERRIDES": " ".join([*OVERRIDES, "finetune.log_every=1", "finetune.checkpoint_every=2"]),
            "PEMT_PIPELINE_TRAINER_PRETRAIN_STEPS": "1",
            "PEMT_PIPELINE_TRAINER_FINETUNE_STEPS": "60",
            "PEMT_PIPELINE_EVALUATOR_ACCURACY_AT_LEAST": "0.8",
            "PEMT_PIPELINE__EVALUATOR__SLICE_CLIPS_AT_LEAST": "4",
            "PEMT_PIPELINE_INFRA_CHECK": CHECK,
            **changes,
        }
        here = self.folder / "here"
        here.mkdir(exist_ok=True)
        return subprocess.Popen(
            [sys.executable, *arguments],
            env={**clean, **settings},
            cwd=here,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def call(self, *arguments: str, **changes: str) -> subprocess.CompletedProcess:
        """`start`, and waits."""
        process = self.start(*arguments, **changes)
        out, err = process.communicate(timeout=1500)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def run_and_kill(self, *arguments: str) -> None:
        """Starts the pipeline, tries a second run meanwhile, and kills the first one in the middle of fine-tuning."""
        process = self.start(*arguments)
        lock = self.root / "run.lock"
        self.wait_for(lambda: list(self.root.glob("unfinished/pretrain-*")), process)
        self.meanwhile = [
            self.call(str(self.runner)),
            self.call("-m", "pemt_tf.orchestration.running.tfx_command", "pipeline", "run", "--status"),
        ]
        self.wait_for(lambda: list(self.root.glob("unfinished/finetune-*/checkpoints/step-*4.npz")), process)
        os.kill(int(re.match(r"process (\d+) on ", lock.read_text())[1]), signal.SIGKILL)
        out, err = process.communicate(timeout=120)
        self.killed = (process.returncode, out, err)
        (work,) = self.root.glob("unfinished/finetune-*")
        self.rows = (work / "metrics.jsonl").read_text().splitlines()

    @staticmethod
    def wait_for(what, process: subprocess.Popen) -> None:
        while not what():
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.02)

    def versions(self) -> list[str]:
        """Pushed versions."""
        return sorted(path.name for path in (self.root / "serving").glob("*"))

    def executions(self) -> list[dict[str, str]]:
        """Node to state of each run, oldest first, counted in the metadata database without our own code."""
        runs: dict[int, dict[str, str]] = {}
        with contextlib.closing(sqlite3.connect(self.root / "metadata.sqlite")) as database:
            for run, node, state in database.execute(QUERY):
                states = runs.setdefault(run, {})
                assert node not in states, f"{node} was executed twice in a run"
                states[node.removeprefix("small.")] = STATES[state]
        return list(runs.values())

    def earliest(self, pattern: str) -> Path:
        """Of the paths in the artefacts that fit, the one of the earliest execution."""
        artifacts = self.root / "artifacts"
        return min(artifacts.glob(pattern), key=lambda path: int(path.relative_to(artifacts).parts[2]))


@pytest.fixture(scope="module")
def workplace(tmp_path_factory) -> Workplace:
    """All runs, in order."""
    place = Workplace(tmp_path_factory.mktemp("pipeline"))
    train = [fake_clip(seed, label) for seed, label in enumerate([0, 1, None] * 6)]
    test = [fake_clip(100 + seed, label) for seed, label in enumerate([0, 1, None, 1, 0, None, 0])]
    misleading = fake_clip(200, 0, looks_like=1)
    two_labels = dataclasses.replace(fake_clip(201, 1), labels=("loud", "quiet"), label_indices=(1, 0))
    today = place.folder / "data" / "day-2026-11-25"
    write_dataset(today / "v2", {"train": train, "test": [*test, misleading, two_labels]})
    write_dataset(today / "v1", {"train": train[:3], "test": test[:3]})
    write_dataset(place.folder / "data" / "day-2026-11-24" / "v3", {"train": train[:3], "test": test[:3]})
    (today / "v3" / "train").mkdir(parents=True)  # still being written
    poisoned = [*train, dataclasses.replace(fake_clip(300, None), label_indices=(7,))]
    write_dataset(place.folder / "poisoned", {"train": poisoned, "test": test})
    deafening = dataclasses.replace(fake_clip(301, 0), labels=("deafening",))
    labels = ("deafening", "quiet", "loud")  # only the card counts: no record is read
    write_dataset(place.folder / "relabelled", {"train": [*train, deafening], "test": test}, labels)

    copy_template(place.folder / "project")
    runner = os.path.relpath(place.runner, place.folder / "here")
    command = ("-m", "pemt_tf.orchestration.running.tfx_command", "pipeline", "run", "--pipeline-path", runner)
    place.run_and_kill(*command)
    place.first = place.call(*command)
    place.pushed = place.versions()
    commands = [
        "pipeline delete --engine local --pipeline-name small",
        f"pipeline create --engine local --pipeline-path {runner}",
        "pipeline list --engine local",
        f"pipeline compile --engine local --pipeline_path {runner}",
        "run create --engine local --pipeline-name small",
        "PEMT_PIPELINE_TRAINER_FINETUNE_STEPS=1",
        "PEMT_PIPELINE_INFRA_CHECK=python",
        "pipeline run --pipeline_name small",
        "PEMT_PIPELINE_DATA=../poisoned",
        f"pipeline run --pipeline-path {runner}",
        "PEMT_PIPELINE_DATA=../data/day-{YYYY}-{MM}-{DD}/v{VERSION}",
        "PEMT_PIPELINE_TRAINER_CPU_DEVICES=3",
        f"pipeline run --engine local --pipeline_path {runner}",
        "PEMT_PIPELINE_DATA=../relabelled",
        f"pipeline run --pipeline_path {runner}",
        "PEMT_PIPELINE_DATA=../data/day-{YYYY}-{MM}-{DD}/v{VERSION}",
        "pipeline run --status --runs 7",
    ]
    done = place.call("-c", COMMANDS, *commands)
    assert done.returncode == 0, done.stderr
    for printed, by_command in ((done.stdout, place.out), (done.stderr, place.err)):
        for part in printed.split("$ tfx ")[1:]:
            command, _, text = part.partition("\n")
            by_command[command.replace(runner, "RUNNER")] = text
    return place


CHECK = "cpp" if find_compiler() else "python"
CREATE = "pipeline create --engine local --pipeline-path RUNNER"
LIST = "pipeline list --engine local"
COMPILE = "pipeline compile --engine local --pipeline_path RUNNER"
AGAIN = "run create --engine local --pipeline-name small"
WORSE = "pipeline run --pipeline_name small"
POISONED = "pipeline run --pipeline-path RUNNER"
FAILING = "pipeline run --engine local --pipeline_path RUNNER"
RELABELLED = "pipeline run --pipeline_path RUNNER"
STATUS = "pipeline run --status --runs 7"


def printed_states(text: str) -> dict[str, str]:
    """Node to state in what `tfx pipeline run` printed."""
    found = re.findall(r"^ *(\w+)  +([A-Z]+(?: RUN)?)(?: +[\d:]+)?$", text, re.MULTILINE)
    return {node: state for node, state in found if node in NODES}


def test_a_run_that_is_killed_says_so_and_leaves_its_checkpoints(workplace):
    code, out, err = workplace.killed

    assert code == 2 and "error: the run was killed by signal 9" in err and "Traceback" not in err
    assert printed_states(out)["Pretrainer"] == "COMPLETE"
    assert printed_states(out)["Finetuner"] == "STOPPED" and printed_states(out)["Pusher"] == "NOT RUN"
    assert 4 <= len(workplace.rows) < 60


def test_a_second_run_at_the_same_time_is_refused_and_the_first_one_shown(workplace):
    second, status = workplace.meanwhile

    assert second.returncode == 2 and second.stdout == "" and second.stderr.count("\n") == 1
    assert re.match(r"error: another run is under way in .*/root \(process \d+ on \S+, since 20", second.stderr)
    assert status.returncode == 0, status.stderr
    assert re.search("running, at (Pretrainer|Finetuner)$", status.stdout, re.MULTILINE)
    assert printed_states(status.stdout)["DataGate"] == "COMPLETE"
    with contextlib.closing(sqlite3.connect(workplace.root / "metadata.sqlite")) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_the_next_run_repeats_only_what_is_missing(workplace):
    states = workplace.executions()[:2]

    before = NODES[: NODES.index("Finetuner")]
    assert states[0] == {**dict.fromkeys(before, "COMPLETE"), "Finetuner": "RUNNING"}
    cached = {node: "CACHED" for node in before if node != "latest_blessed_model"}
    assert states[1] == {**dict.fromkeys(NODES, "COMPLETE"), **cached}
    # The lines have the clips per second: the same lines are the same steps, not their repetition.
    rows = (workplace.earliest("Finetuner/model_run/*/run.json").parent / "metrics.jsonl").read_text().splitlines()
    resumed_at = len(workplace.rows) // 2 * 2  # a checkpoint every second step
    assert rows[: resumed_at - 2] == workplace.rows[: resumed_at - 2]
    assert [json.loads(row)["step"] for row in rows] == list(range(1, 61))
    assert not list((workplace.root / "unfinished").iterdir())


def test_a_run_to_the_end_pushes(workplace):
    done = workplace.first

    assert done.returncode == 0, done.stderr
    assert printed_states(done.stdout) == workplace.executions()[1]
    (version,) = workplace.pushed
    assert "model blessed: yes" in done.stdout
    assert f"model pushed: version {version} in {workplace.root / 'serving'}" in done.stdout
    assert re.search(r"^\d\d:\d\d:\d\d Finetuner RUNNING$", done.stderr, re.MULTILINE)
    pushed = workplace.root / "serving" / version
    assert version.isdecimal() and (pushed / "saved_model.pb").is_file() and (pushed / "variables").is_dir()


def test_the_newest_day_in_its_newest_finished_version_is_taken(workplace):
    with contextlib.closing(sqlite3.connect(workplace.root / "metadata.sqlite")) as database:
        found = database.execute(
            "SELECT DISTINCT P.name, P.int_value FROM ArtifactProperty AS P JOIN Artifact AS A ON A.id = P.artifact_id "
            "JOIN Type AS T ON T.id = A.type_id WHERE T.name = 'Examples' AND P.name IN ('span', 'version') "
            "AND A.id = 1"
        ).fetchall()

    assert sorted(found) == [("span", 20782), ("version", 2)]  # days from 1970-01-01 to 2026-11-25
    assert "data: 2026-11-25, version 2" in workplace.out[STATUS]


def test_a_run_with_nothing_changed_is_cached_up_to_the_evaluator(workplace):
    anew = {*JUDGED_ANEW, "LabelGate"}  # there is a blessed model to compare with now
    assert workplace.executions()[2] == {node: "COMPLETE" if node in anew else "CACHED" for node in NODES}
    assert "exit code" not in workplace.out[AGAIN]
    assert workplace.versions() == workplace.pushed  # the same model, blessed once more, keeps its version


def test_the_commands_of_tfx_work_as_it_documents_them(workplace):
    assert 'Pipeline "small" created successfully.' in workplace.out[CREATE]
    assert "small" in workplace.out[LIST].splitlines()
    assert "Pipeline compiled successfully." in workplace.out[COMPILE]


def test_a_worse_model_is_not_blessed_and_not_pushed(workplace):
    out = workplace.out[WORSE]

    assert "exit code 0" in out
    states = workplace.executions()[3]
    assert printed_states(out) == states
    trained = {*JUDGED_ANEW, "Finetuner", "ServingCheck"}  # fewer steps of fine-tuning do not pretrain again
    assert states == {node: "COMPLETE" if node in trained else "CACHED" for node in NODES}
    assert "model blessed: no" in out and "model pushed" not in out
    # Of seven labelled test clips one looks like the other label; the last blessed model has the others.
    assert "of test (last blessed model: 85.7%)" in out
    assert re.search(r"top1 is 0\.\d+, at least 0.8 is needed", out)
    assert re.search(r"top1 is -0\.\d+, at least a change against the last blessed model of -0.02 is needed", out)
    assert workplace.versions() == workplace.pushed


def test_poisoned_data_stops_before_training_with_a_sentence(workplace):
    out, err = workplace.out[POISONED], workplace.err[POISONED]

    assert out.endswith("exit code 2\n") and "Traceback" not in err
    (cause,) = [line for line in err.splitlines() if line.startswith("error: ")]
    assert "the data must not be trained on: split train, clip/label/index: out-of-range values" in cause
    assert "(Unexpectedly large value: 7)" in cause
    states = workplace.executions()[4]
    assert states["ExampleValidator"] == "COMPLETE" and states["DataGate"] == "FAILED"
    assert not {"Pretrainer", "Finetuner", "Evaluator", "Pusher"} & set(states)


def test_other_labels_than_those_of_the_last_blessed_model_stop_the_run(workplace):
    out, err = workplace.out[RELABELLED], workplace.err[RELABELLED]

    assert out.endswith("exit code 2\n")
    (cause,) = [line for line in err.splitlines() if line.startswith("error: ")]
    assert "the labels are not those of the last blessed model (new: deafening), so the two cannot be compared" in cause
    states = printed_states(out)
    assert states["LabelGate"] == "FAILED"
    assert {states[node] for node in NODES[NODES.index("StatisticsGen") :]} == {"NOT RUN"}


def test_a_failed_node_gives_its_cause_in_one_line_and_an_exit_code(workplace):
    out, err = workplace.out[FAILING], workplace.err[FAILING]

    assert out.endswith("exit code 2\n")
    (cause,) = [line for line in err.splitlines() if line.startswith("error: ")]
    assert "a batch of 4 clips does not split over 3 devices" in cause
    assert "Traceback" not in err
    states = printed_states(out)
    assert states["DataGate"] == "CACHED" and states["Pretrainer"] == "FAILED"
    assert {states[node] for node in NODES[NODES.index("Finetuner") :]} == {"NOT RUN"}


def test_status_lists_the_runs_with_states_times_metrics_and_versions(workplace):
    text = workplace.out[STATUS]
    runs = text.split("\n\n")[1:]

    assert len(runs) == 7
    assert [run.splitlines()[0].partition(": ")[2] for run in runs] == [
        "failed at LabelGate",
        "failed at Pretrainer",
        "failed at DataGate",
        "model not blessed, not pushed",
        f"model version {workplace.pushed[0]} unchanged",
        f"model version {workplace.pushed[0]} pushed",
        "stopped at Finetuner",
    ]
    assert "top-1 85.7%, top-5 100.0% on 7 clips of test" in runs[5]
    assert re.search(r"^  Finetuner +COMPLETE +\d+:\d\d$", runs[5], re.MULTILINE)


def test_the_card_of_the_model_has_its_slices_and_the_verdict(workplace):
    cards = sorted((workplace.root / "artifacts").glob("CardWriter/card/*/"), key=lambda path: int(path.name))
    text = (cards[0] / "MODEL_CARD.md").read_text()
    metrics = json.loads((cards[0] / "metrics.json").read_text())

    assert text.startswith("# Model card: small\n")
    assert "Made by the pipeline `small`: blessed; there was no blessed model to compare with." in text
    # `loud` has three clips, and slices of fewer than four are left out.
    assert {(each["by"], each["value"]): (each["clips"], round(each["top1"], 4)) for each in metrics["slices"]} == {
        ("label", "quiet"): (4, 0.75),
        ("source", "fake"): (7, 0.8571),
        ("duration", "10 to 30 s"): (7, 0.8571),
        ("has_audio", "1"): (7, 0.8571),
    }
    assert metrics["precision"] == {"quiet": 1.0, "loud": 0.75}  # three of the four clips named `loud` are


def test_the_model_is_checked_as_a_server_would_load_it(workplace):
    with contextlib.closing(sqlite3.connect(workplace.root / "metadata.sqlite")) as database:
        how = database.execute(
            "SELECT P.string_value FROM ArtifactProperty AS P JOIN Artifact AS A ON A.id = P.artifact_id "
            "JOIN Type AS T ON T.id = A.type_id WHERE T.name = 'InfraBlessing' AND P.name = 'how' ORDER BY A.id"
        ).fetchall()

    assert how[0] == (CHECK,) and how[-1] == ("python",)


def test_nothing_is_written_outside_of_root_and_home(workplace):
    assert sorted(path.name for path in workplace.folder.iterdir()) == [
        "data",
        "here",
        "home",
        "poisoned",
        "project",
        "relabelled",
        "root",
    ]
    assert not list((workplace.folder / "here").iterdir())
    assert sorted(path.name for path in workplace.root.iterdir()) == [
        "artifacts", "logs", "metadata.sqlite", "schema", "serving", "unfinished",
    ]  # fmt: skip
    ours = {path.name for path in workplace.runner.parent.iterdir() if path.suffix not in (".py", ".yaml", ".cc")}
    assert ours <= {"schema", "__pycache__"}


def test_the_splits_that_judge_hold_labelled_clips_only(workplace):
    labels = {}
    for split in ("train", "test"):
        files = sorted(map(str, workplace.earliest(f"ImportExampleGen/examples/*/Split-{split}").iterdir()))
        examples = [tf.train.Example.FromString(x.numpy()) for x in tf.data.TFRecordDataset(files)]
        labels[split] = sorted(list(x.features.feature[records.LABEL_INDEX].int64_list.value) for x in examples)

    assert labels["train"] == [[]] * 6 + [[0]] * 6 + [[1]] * 6
    assert labels["test"] == [[0]] * 4 + [[1]] * 3


def test_statistics_hold_scalars_only_and_find_no_anomaly(workplace):
    from tensorflow_metadata.proto.v0 import anomalies_pb2, statistics_pb2

    for split, clips in (("train", 18), ("test", 7)):
        found = statistics_pb2.DatasetFeatureStatisticsList.FromString(
            workplace.earliest(f"StatisticsGen/statistics/*/Split-{split}/FeatureStats.pb").read_bytes()
        )
        scalars = {*records.SCALAR_FEATURES, slices.DURATION, slices.SOURCE}
        assert {feature.path.step[0] for feature in found.datasets[0].features} == scalars
        assert found.datasets[0].num_examples == clips
        anomalies = anomalies_pb2.Anomalies.FromString(
            workplace.earliest(f"ExampleValidator/anomalies/*/Split-{split}/SchemaDiff.pb").read_bytes()
        )
        assert not anomalies.anomaly_info and not anomalies.HasField("dataset_anomaly_info")


def test_fine_tuning_starts_from_the_pretrained_backbone(workplace):
    finetuned = RunDirectory(workplace.earliest("Finetuner/model_run/*/run.json").parent)
    pretrained = RunDirectory(workplace.earliest("Pretrainer/model_run/*/run.json").parent)
    handed_over = RunDirectory(workplace.earliest("Pretrainer/model/*/Format-Serving"))

    assert finetuned.description()["initial"] == str(handed_over.path)
    assert [row["step"] for row in pretrained.metrics()] == [1]
    weights = [run.path / "backbone.weights.h5" for run in (pretrained, handed_over)]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_the_pushed_model_answers_exactly_as_the_trainers(workplace):
    source = ClipSource.open(workplace.folder / "data" / "day-2026-11-25" / "v2")
    raw = tf.constant([x.numpy() for x in tf.data.TFRecordDataset(list(source.files["test"]))])
    trainers = workplace.earliest("Finetuner/model/*/Format-Serving")
    pushed = workplace.root / "serving" / workplace.pushed[0]

    ours, theirs = (tf.saved_model.load(str(path)).signatures["serving_default"](raw) for path in (pushed, trainers))

    assert set(ours) == {"probabilities", "embedding", "labels"}
    assert ours["labels"].numpy().tolist() == [[b"quiet", b"loud"]] * len(raw)
    for name in ours:
        np.testing.assert_array_equal(ours[name].numpy(), theirs[name].numpy())
    model, labels = RunDirectory(workplace.earliest("Finetuner/model_run/*/run.json").parent).load_classifier()
    (batch,) = evaluation_clips(source, "test", batch_size=16)
    keras_model = model(model_inputs(batch, ("visual", "audio")), training=False)["probabilities"]
    assert labels == ("quiet", "loud")
    np.testing.assert_allclose(ours["probabilities"].numpy(), keras_model.numpy(), atol=1e-5)

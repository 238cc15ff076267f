"""The pipeline end to end, as a user runs it: first run, cached second run, a model that is not good enough, a failure.

One small data set and one folder serve all tests, because each run starts TFX anew.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import os
import sqlite3
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from pemt_tf.data import records
from pemt_tf.data.clip_source import ClipSource
from pemt_tf.data.input_pipeline import evaluation_clips, model_inputs
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
    "StatisticsGen",
    "ExampleValidator",
    "Trainer",
    "Evaluator",
    "Pusher",
]
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
from pipeline.command_group import commands
from pipeline.quiet import silence_libraries
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
        first: what the first command left.
        out, err: what each later command printed.
        pushed: versions after the first command.
    """

    folder: Path
    first: subprocess.CompletedProcess | None = None
    out: dict[str, str] = field(default_factory=dict)
    err: dict[str, str] = field(default_factory=dict)
    pushed: list[str] = field(default_factory=list)

    @property
    def root(self) -> Path:
        return self.folder / "root"

    def call(self, *arguments: str) -> subprocess.CompletedProcess:
        """Runs Python in a folder of its own, so that relative paths and stray files show."""
        clean = {key: value for key, value in os.environ.items() if not key.startswith("PEMT_PIPELINE_")}
        settings = {
            "PYTHONPATH": str(REPOSITORY),
            "LOCAL_HOME": str(self.folder / "home"),
            "PEMT_PIPELINE_NAME": "small",
            "PEMT_PIPELINE_DATA": "../data",
            "PEMT_PIPELINE_ROOT": "../root",
            "PEMT_PIPELINE_OVERRIDES": " ".join(OVERRIDES),
            "PEMT_PIPELINE_TRAINER_PRETRAIN_STEPS": "1",
            "PEMT_PIPELINE_TRAINER_FINETUNE_STEPS": "16",
            "PEMT_PIPELINE_EVALUATOR_ACCURACY_AT_LEAST": "0.8",
        }
        here = self.folder / "here"
        here.mkdir(exist_ok=True)
        command, environment = [sys.executable, *arguments], {**clean, **settings}
        return subprocess.run(command, env=environment, cwd=here, capture_output=True, text=True, timeout=1500)

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

    def only(self, pattern: str) -> Path:
        """The one path in the artefacts that fits."""
        (path,) = (self.root / "artifacts").glob(pattern)
        return path


@pytest.fixture(scope="module")
def workplace(tmp_path_factory) -> Workplace:
    """All runs, in order."""
    place = Workplace(tmp_path_factory.mktemp("pipeline"))
    train = [fake_clip(seed, label) for seed, label in enumerate([0, 1, None] * 6)]
    test = [fake_clip(100 + seed, label) for seed, label in enumerate([0, 1, None, 1, 0, None, 0])]
    misleading = fake_clip(200, 0, looks_like=1)
    two_labels = dataclasses.replace(fake_clip(201, 1), labels=("loud", "quiet"), label_indices=(1, 0))
    write_dataset(place.folder / "data", {"train": train, "test": [*test, misleading, two_labels]})

    runner = os.path.relpath(REPOSITORY / "pipeline" / "local_runner.py", place.folder / "here")
    place.first = place.call("-m", "pipeline.tfx_command", "pipeline", "run", "--pipeline-path", runner)
    place.pushed = place.versions()
    commands = [
        "pipeline delete --engine local --pipeline-name small",
        f"pipeline create --engine local --pipeline-path {runner}",
        "pipeline list --engine local",
        f"pipeline compile --engine local --pipeline_path {runner}",
        "run create --engine local --pipeline-name small",
        "PEMT_PIPELINE_EVALUATOR_ACCURACY_AT_LEAST=0.99",
        "pipeline run --pipeline_name small",
        "PEMT_PIPELINE_TRAINER_CPU_DEVICES=3",
        f"pipeline run --engine local --pipeline_path {runner}",
    ]
    done = place.call("-c", COMMANDS, *commands)
    assert done.returncode == 0, done.stderr
    for printed, by_command in ((done.stdout, place.out), (done.stderr, place.err)):
        for part in printed.split("$ tfx ")[1:]:
            command, _, text = part.partition("\n")
            by_command[command.replace(runner, "RUNNER")] = text
    return place


CREATE = "pipeline create --engine local --pipeline-path RUNNER"
LIST = "pipeline list --engine local"
COMPILE = "pipeline compile --engine local --pipeline_path RUNNER"
SECOND = "run create --engine local --pipeline-name small"
STRICT = "pipeline run --pipeline_name small"
FAILING = "pipeline run --engine local --pipeline_path RUNNER"


def printed_states(text: str) -> dict[str, str]:
    """Node to state in what `tfx pipeline run` printed."""
    words = [line.split(maxsplit=1) for line in text.splitlines()]
    return {first: rest[0] for first, *rest in words if first in NODES}


def test_the_first_run_completes_every_node_and_pushes(workplace):
    done = workplace.first

    assert done.returncode == 0, done.stderr
    assert workplace.executions()[0] == dict.fromkeys(NODES, "COMPLETE")
    assert list(printed_states(done.stdout).items()) == [(node, "COMPLETE") for node in NODES]
    (version,) = workplace.pushed
    assert "model blessed: yes" in done.stdout
    assert f"model pushed: version {version} in {workplace.root / 'serving'}" in done.stdout


def test_the_second_run_is_cached_up_to_the_evaluator(workplace):
    again = {"latest_blessed_model", "Evaluator", "Pusher"}  # there is a blessed model to compare with now

    assert workplace.executions()[1] == {node: "COMPLETE" if node in again else "CACHED" for node in NODES}
    assert "exit code" not in workplace.out[SECOND]


def test_the_commands_of_tfx_work_as_it_documents_them(workplace):
    assert 'Pipeline "small" created successfully.' in workplace.out[CREATE]
    assert "small" in workplace.out[LIST].splitlines()
    assert "Pipeline compiled successfully." in workplace.out[COMPILE]


def test_a_model_below_the_threshold_is_not_blessed_and_not_pushed(workplace):
    out = workplace.out[STRICT]

    assert "exit code 0" in out
    assert printed_states(out) == workplace.executions()[2]
    assert printed_states(out)["Trainer"] == "CACHED" and printed_states(out)["Evaluator"] == "COMPLETE"
    assert "model blessed: no" in out and "model pushed" not in out
    # Of seven labelled test clips one looks like the other label.
    assert "sparse_categorical_accuracy is 0.8571, at least 0.99 is needed" in out
    assert len(workplace.versions()) == 2  # of the first and the second run


def test_a_failed_node_gives_its_cause_in_one_line_and_an_exit_code(workplace):
    out, err = workplace.out[FAILING], workplace.err[FAILING]

    assert out.endswith("exit code 2\n")
    (cause,) = [line for line in err.splitlines() if line.startswith("error: ")]
    assert "a batch of 4 clips does not split over 3 devices" in cause
    assert "Traceback" not in err
    assert printed_states(out) == {
        **workplace.executions()[1],
        "Trainer": "FAILED",
        "Evaluator": "NOT RUN",
        "Pusher": "NOT RUN",
    }


def test_nothing_is_written_outside_of_root_and_home(workplace):
    assert sorted(path.name for path in workplace.folder.iterdir()) == ["data", "here", "home", "root"]
    assert not list((workplace.folder / "here").iterdir())
    assert sorted(path.name for path in workplace.root.iterdir()) == [
        "artifacts", "logs", "metadata.sqlite", "schema", "serving",
    ]  # fmt: skip
    ours = {path.name for path in (REPOSITORY / "pipeline").iterdir() if path.suffix not in (".py", ".yaml")}
    assert ours <= {"schema", "__pycache__"}


def test_the_splits_that_judge_hold_labelled_clips_only(workplace):
    labels = {}
    for split in ("train", "test"):
        files = sorted(map(str, workplace.only(f"ImportExampleGen/examples/*/Split-{split}").iterdir()))
        examples = [tf.train.Example.FromString(x.numpy()) for x in tf.data.TFRecordDataset(files, "GZIP")]
        labels[split] = sorted(list(x.features.feature[records.LABEL_INDEX].int64_list.value) for x in examples)

    assert labels["train"] == [[]] * 6 + [[0]] * 6 + [[1]] * 6
    assert labels["test"] == [[0]] * 4 + [[1]] * 3


def test_statistics_hold_scalars_only_and_find_no_anomaly(workplace):
    from tensorflow_metadata.proto.v0 import anomalies_pb2, statistics_pb2

    for split, clips in (("train", 18), ("test", 7)):
        found = statistics_pb2.DatasetFeatureStatisticsList.FromString(
            workplace.only(f"StatisticsGen/statistics/*/Split-{split}/FeatureStats.pb").read_bytes()
        )
        assert {feature.path.step[0] for feature in found.datasets[0].features} == set(records.SCALAR_FEATURES)
        assert found.datasets[0].num_examples == clips
        anomalies = anomalies_pb2.Anomalies.FromString(
            workplace.only(f"ExampleValidator/anomalies/*/Split-{split}/SchemaDiff.pb").read_bytes()
        )
        assert not anomalies.anomaly_info and not anomalies.HasField("dataset_anomaly_info")


def test_fine_tuning_starts_from_the_pretrained_backbone(workplace):
    runs = workplace.only("Trainer/model_run/*/finetune").parent

    assert RunDirectory(runs / "pretrain").finished
    assert RunDirectory(runs / "finetune").description()["initial"] == str(runs / "pretrain")
    assert [row["step"] for row in RunDirectory(runs / "pretrain").metrics()] == [1]
    assert RunDirectory(runs / "finetune").metrics()[-1]["step"] == 16


def test_the_pushed_model_answers_exactly_as_the_trainers(workplace):
    source = ClipSource.open(workplace.folder / "data")
    raw = tf.constant([x.numpy() for x in tf.data.TFRecordDataset(list(source.files["test"]))])
    trainers = workplace.only("Trainer/model/*/Format-Serving")
    pushed = workplace.root / "serving" / workplace.pushed[0]

    ours, theirs = (tf.saved_model.load(str(path)).signatures["serving_default"](raw) for path in (pushed, trainers))

    assert set(ours) == {"probabilities", "embedding", "labels"}
    assert ours["labels"].numpy().tolist() == [[b"quiet", b"loud"]] * len(raw)
    for name in ours:
        np.testing.assert_array_equal(ours[name].numpy(), theirs[name].numpy())
    model, labels = RunDirectory(workplace.only("Trainer/model_run/*/finetune")).load_classifier()
    (batch,) = evaluation_clips(source, "test", batch_size=16)
    keras_model = model(model_inputs(batch, ("visual", "audio")), training=False)["probabilities"]
    assert labels == ("quiet", "loud")
    np.testing.assert_allclose(ours["probabilities"].numpy(), keras_model.numpy(), atol=1e-5)

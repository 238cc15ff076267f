"""The same pipeline, compiled for Kubeflow Pipelines v2 and Vertex AI."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("tfx", reason="the tfx extra is not installed")
pytest.importorskip("kfp.pipeline_spec", reason="kfp-pipeline-spec of the tfx extra is not installed")

from pemt_tf.errors import PemtError
from pemt_tf.orchestration.nodes import artifact_paths
from pemt_tf.orchestration.nodes.artifact_paths import bucket_address, local_path
from pipeline import configs
from pipeline.kubeflow_runner import compile_pipeline
from tests.pipeline.dataset import OVERRIDES, fake_clip, write_dataset

pytestmark = pytest.mark.tfx
DATAFLOW = ["--runner=DataflowRunner", "--region=europe-west4"]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory) -> dict:
    """What the compiler wrote."""
    folder = tmp_path_factory.mktemp("kubeflow")
    clips = [fake_clip(seed, seed % 2) for seed in range(4)]
    write_dataset(folder / "data" / "7", {"train": clips, "test": clips})
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "NAME": "small",
            "DATA": f"{folder}/data/{{SPAN}}",
            "ROOT": str(folder / "root"),
            "OVERRIDES": " ".join(OVERRIDES),
            "INFRA_CHECK": "python",
            "BEAM_OF_EVALUATOR": " ".join(DATAFLOW),
            "KUBEFLOW_IMAGE": "registry/pemt:1",
            "KUBEFLOW_ROOT": "gs://bucket/pemt",
            "KUBEFLOW_OUTPUT": str(folder / "pipeline.json"),
        }.items():
            patch.setenv(f"PEMT_PIPELINE_{name}", value)
        path = compile_pipeline()
    assert path == folder / "pipeline.json"
    return json.loads(path.read_text())


def test_every_node_is_a_task_after_those_it_needs(compiled):
    tasks = compiled["pipelineSpec"]["root"]["dag"]["tasks"]

    assert compiled["pipelineSpec"]["schemaVersion"].startswith("2.")
    after = {name: set(task.get("dependentTasks", [])) for name, task in tasks.items()}
    assert set(after) >= {
        "ImportExampleGen", "ImportSchemaGen", "StatisticsGen", "ExampleValidator", "DataGate", "LabelGate",
        "Pretrainer", "Finetuner", "Evaluator", "ServingCheck", "CardWriter", "Pusher",
    }  # fmt: skip
    assert after["DataGate"] == {"ImportExampleGen", "ExampleValidator"}
    assert {"DataGate", "LabelGate"} <= after["Pretrainer"] and {"DataGate", "Pretrainer"} <= after["Finetuner"]
    assert {"Evaluator", "ServingCheck"} <= after["Pusher"]


def test_nodes_run_in_the_image_with_their_own_beam_options(compiled):
    executors = compiled["pipelineSpec"]["deploymentSpec"]["executors"]
    containers = {name: each["container"] for name, each in executors.items() if "container" in each}

    assert {each["image"] for each in containers.values()} == {"registry/pemt:1"}
    assert containers["Evaluator_executor"]["args"][-2:] == DATAFLOW
    assert containers["DataGate_executor"]["args"][-1] == "--runner=FnApiRunner"
    assert compiled["runtimeConfig"]["gcsOutputDirectory"] == "gs://bucket/pemt"


def test_the_import_is_told_the_pattern_and_the_span(compiled):
    task = compiled["pipelineSpec"]["root"]["dag"]["tasks"]["ImportExampleGen"]
    given = {
        name: value["runtimeValue"]["constantValue"].get("stringValue")
        for name, value in task["inputs"]["parameters"].items()
    }

    assert "{SPAN}/train/clips-*.tfrecord" in given["input_config"]
    span = json.loads(given["range_config"])["static_range"]
    assert (span["start_span_number"], span["end_span_number"]) == (7, 7)


def test_without_an_image_it_says_what_to_set(tmp_path):
    runner = Path(configs.__file__).with_name("kubeflow_runner.py")
    environment = {"PEMT_PIPELINE_DATA": str(tmp_path), "HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, runner], env=environment, capture_output=True, text=True, timeout=60)

    assert done.returncode == 2
    assert done.stderr == "error: to compile for Kubeflow, set kubeflow.image (PEMT_PIPELINE_KUBEFLOW_IMAGE)\n"


def test_buckets_are_read_where_they_are_mounted(tmp_path, monkeypatch):
    monkeypatch.setattr(artifact_paths, "MOUNTS", tmp_path)
    (tmp_path / "bucket").mkdir()

    assert local_path("/artifacts/Model/3") == Path("/artifacts/Model/3")
    assert local_path("gs://bucket/pemt/Model/3") == tmp_path / "bucket" / "pemt" / "Model" / "3"
    assert bucket_address(tmp_path / "bucket" / "data") == "gs://bucket/data"
    assert bucket_address(Path("/videos")) == "/videos"
    for address in ("gs://other/x", "s3://bucket/x"):
        with pytest.raises(PemtError, match="is not on a mounted file system"):
            local_path(address)

"""What Dataflow would be given: the whole job description, made offline against an emulated storage."""

import json
import os
import re
import subprocess
import sys
import tarfile
import warnings
from importlib.metadata import version
from io import BytesIO
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from beam_jobs.preprocess import main
from tests import media_files as media
from tests.beam_jobs.google_storage import BUCKET, emulated_storage

ROOT = Path(__file__).resolve().parents[2]
IMAGE = "europe-docker.pkg.dev/example/pemt/worker:1"
LOCKS = {"3.10": "legacy.lock", "3.11": "current.lock"}


@pytest.fixture(scope="module")
def client():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with emulated_storage() as (client, _):
            yield client


def _job(client, folder, *flags):
    """Makes a job of two videos; returns its description and the staged files by name."""
    for name in ("dog/a.mp4", "cat/b.mp4"):
        path = media.write_video(folder / name, seconds=1)
        client.bucket(BUCKET).blob(f"in/{name}").upload_from_filename(str(path))
    before = {blob.name for blob in client.list_blobs(BUCKET)}
    command = [
        *("--input", f"gs://{BUCKET}/in", "--output", f"gs://{BUCKET}/out/{folder.name}", "--shards_per_split", "1"),
        *("--runner", "DataflowRunner", "--project", "example", "--region", "europe-west4", "--no_auth"),
        *("--staging_location", f"gs://{BUCKET}/staging", "--temp_location", f"gs://{BUCKET}/temp"),
        *("--template_location", str(folder / "job.json"), *flags),
    ]
    assert main(command) == 0
    new = [blob for blob in client.list_blobs(BUCKET) if blob.name not in before]
    return json.loads((folder / "job.json").read_text()), {blob.name.rpartition("/")[2]: blob for blob in new}


def test_job_for_a_container_of_ones_own(client, tmp_path, capsys):
    flags = ["--machine_type=n2-standard-8", "--number_of_worker_harness_threads=8", "--disk_size_gb=50"]
    flags += ["--num_workers=5", "--max_num_workers=100", "--experiments=no_use_multiple_sdk_containers"]
    job, staged = _job(client, tmp_path, f"--sdk_container_image={IMAGE}", *flags)
    assert "nothing was run" in capsys.readouterr().out
    environment = job["environment"]
    (pool,) = environment["workerPools"]
    assert (pool["machineType"], pool["numThreadsPerWorker"], pool["diskSizeGb"]) == ("n2-standard-8", 8, 50)
    assert (pool["numWorkers"], pool["autoscalingSettings"]["maxNumWorkers"]) == (5, 100)
    assert [image["containerImage"] for image in pool["sdkHarnessContainerImages"]] == [IMAGE]
    assert "no_use_multiple_sdk_containers" in environment["experiments"]
    assert environment["tempStoragePrefix"].startswith("storage.googleapis.com/bucket/temp")
    assert job["type"] == "JOB_TYPE_BATCH"
    # The container has all: nothing is staged but a list of what the submitting side had installed.
    assert {package["name"] for package in pool["packages"]} <= {"submission_environment_dependencies.txt"}
    options = environment["sdkPipelineOptions"]["options"]
    assert (options["project"], options["region"]) == ("example", "europe-west4")
    assert options["save_main_session"] is False
    pipeline = _pipeline(staged["pipeline.pb"])
    names = {transform.unique_name.split("/")[0] for transform in pipeline.components.transforms.values()}
    assert {"Shards", "Spread", "DecodeAndWrite", "Count"} <= names
    python = f"beam_python{sys.version_info.major}.{sys.version_info.minor}_sdk:{version('apache-beam')}"
    (sdk,) = pipeline.components.environments.values()
    assert any(python in capability for capability in sdk.capabilities)
    # The plan waits for the workers where they look for it; nothing looks finished.
    left = {blob.name.partition(f"{tmp_path.name}/")[2] for blob in client.list_blobs(BUCKET, prefix="out/")}
    assert "plan.jsonl" in left and "dataset_card.json" not in left


def _pipeline(blob):
    from apache_beam.portability.api import beam_runner_api_pb2

    return beam_runner_api_pb2.Pipeline.FromString(blob.download_as_bytes())


def test_job_without_a_container_brings_our_package_and_the_requirements(client, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    requirements = ["--requirements_file", "docker/worker-requirements.txt", "--requirements_cache=skip"]
    job, staged = _job(client, tmp_path, "--setup_file=./setup.py", *requirements)
    (pool,) = job["environment"]["workerPools"]
    names = {package["name"] for package in pool["packages"]}
    assert {"workflow.tar.gz", "requirements.txt"} <= names
    assert all(package["location"].startswith("storage.googleapis.com/bucket/staging/") for package in pool["packages"])
    with tarfile.open(fileobj=BytesIO(staged["workflow.tar.gz"].download_as_bytes())) as package:
        files = {name.partition("/")[2] for name in package.getnames()}
    assert {
        "beam_jobs/worker/decoder_child.py",
        "beam_jobs/worker/shard_maker.py",
        "pemt_tf/config/presets/tiny.yaml",
    } <= files
    assert "av==" in staged["requirements.txt"].download_as_bytes().decode()
    image = pool["sdkHarnessContainerImages"][0]["containerImage"]
    assert image.endswith(f"sdk:{version('apache-beam')}")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((), "(?i)project"),
        (("--project=example", "--temp_location=/tmp/x"), "gs://|GCS"),
        (("--project=example", "--temp_location=gs://bucket/temp", "--machine_typ=x"), "unknown option --machine_typ"),
    ],
)
def test_what_is_missing_is_said_before_anything_is_listed(tmp_path, capsys, flags, message):
    pytest.importorskip("apache_beam.io.gcp.gcsfilesystem", reason="needs apache-beam[gcp]")
    command = ["--input", str(tmp_path / "nothing"), "--output", "gs://bucket/x", "--runner=DataflowRunner", *flags]
    assert main(command) == 2
    said = capsys.readouterr().err
    assert re.search(message, said) and said.count("\n") == 1 and "nothing" not in said, said


def _lock(name):
    lines = (ROOT / "requirements" / name).read_text().splitlines()
    return dict(line.split("==", 1) for line in lines if re.match(r"[\w.-]+==", line))


@pytest.mark.parametrize("python", LOCKS)
def test_worker_requirements_are_those_of_the_locks(python):
    lock = {name.lower(): value.split(" ")[0] for name, value in _lock(LOCKS[python]).items()}
    lines = (ROOT / "docker" / "worker-requirements.txt").read_text().splitlines()
    wanted = [Requirement(line) for line in lines if line and not line.startswith("#")]
    chosen = [one for one in wanted if one.marker is None or one.marker.evaluate({"python_version": python})]
    assert {one.name.lower(): str(one.specifier) for one in chosen} == {
        name: f"=={lock[name]}" for name in ("av", "numpy", "pyyaml", "scipy", "simplejpeg")
    }


def test_workers_need_only_what_the_container_has():
    """Beam brings numpy, pyarrow and Google's libraries; of what else we use, only the listed packages are there."""
    code = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"tensorflow", "keras", "matplotlib", "sklearn", "tensorboard", "hypothesis"}:
            raise ImportError(f"{name} is not in the container")
sys.meta_path.insert(0, Absent())
import beam_jobs.worker.decoder_child, beam_jobs.engines.beam_graph
"""
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr

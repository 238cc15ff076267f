"""Each extra brings what it is for, installed in a fresh environment; TFX and this package in both orders."""

from __future__ import annotations

import re
import shlex

import numpy as np
import pytest

from tests import media_files as media
from tests.beam_jobs.google_storage import BUCKET, emulated_storage
from tests.fake_embeddings import write_embeddings
from tests.fresh_environment import SET_UP, build_wheel, fresh_environment, needs_uv, pythons
from tests.object_storage import object_storage

pytestmark = [pytest.mark.slow, needs_uv]
PREPARE = ("python", "-m", "beam_jobs.preprocess", "--preset", "tiny", "--output", "records", "--input")
EIGHT = "8 inputs = 8 written + 0 filtered + 0 failed"
READ_RECORDS = """
import os
import tensorflow_io  # its file systems are those of tf.data from here on
from pemt_tf.config import Config
from pemt_tf.data.clip_source import ClipSource
from pemt_tf.data.input_pipeline import evaluation_clips
source = ClipSource({"train": (%r,)}, Config.from_preset("tiny").geometry, (), "bucket")
print("clips:", sum(len(batch["label"]) for batch in evaluation_clips(source, "train", 3)), flush=True)
os._exit(0)  # tensorflow-io aborts ("pure virtual method called") when the interpreter ends
"""
RUNNER = """
from tfx import v1 as tfx

if __name__ == "__main__":
    look = tfx.dsl.Importer(source_uri="/", artifact_type=tfx.types.standard_artifacts.Examples).with_id("Look")
    metadata = tfx.orchestration.metadata.sqlite_metadata_connection_config("metadata.sqlite")
    pipeline = tfx.dsl.Pipeline(
        pipeline_name="small", pipeline_root="root", components=[look], metadata_connection_config=metadata
    )
    tfx.orchestration.LocalDagRunner().run(pipeline)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture
def newest(wheel, tmp_path):
    """An environment of the newest Python; nothing is installed yet."""
    with fresh_environment(tmp_path, list(pythons())[-1], wheel) as environment:
        yield environment


@pytest.fixture
def with_tfx(wheel, tmp_path, monkeypatch):
    """An environment of a Python that TFX can be had for; nothing is installed yet."""
    versions = [version for version in pythons() if not SET_UP.why_too_old(SET_UP.stack_of(version))]
    if not versions:
        pytest.skip("TFX cannot be had here: its wheels need glibc 2.39, or Python 3.10")
    if lacking := SET_UP.missing_tools(pythons()[versions[-1]]):
        pytest.skip(f"TFX cannot be had here: {lacking}")
    monkeypatch.setenv("LOCAL_HOME", str(tmp_path / "pipelines"))  # TFX's list of created pipelines
    with fresh_environment(tmp_path, versions[-1], wheel) as environment:
        yield environment


@pytest.fixture
def bucket(tmp_path, monkeypatch):
    """A folder that is served as s3://bucket, with eight videos."""
    for number in range(8):
        media.write_video(tmp_path / "bucket" / "videos" / "train" / f"{number}.mp4", tone=media.sine(300.0 + number))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")  # whole bodies, not chunks with checksums
    with object_storage(tmp_path / "bucket") as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{address}")  # of boto3
        monkeypatch.setenv("S3_ENDPOINT", f"http://{address}")  # of tensorflow-io
        yield tmp_path / "bucket"


def embeddings(folder):
    """Sixty clips in three directions, far apart."""
    random = np.random.default_rng(0)
    return write_embeddings(folder, np.repeat(np.eye(3, 8), 20, axis=0) + random.normal(0, 0.01, (60, 8)))


def test_search_brings_the_approximate_index(newest):
    newest.install("pemt-tf[search]")
    embeddings(newest.work / "embeddings")

    found = newest.run("pemt", "search", "embeddings", "--id", "clip-3", "-k", "5", "--approximate", "--json").stdout

    ids = [int(number) for number in re.findall(r'"id": "clip-(\d+)"', found)]
    assert len(ids) == 5 and all(number < 20 for number in ids)
    assert list((newest.work / "embeddings").glob("approximate-*.usearch"))


def test_umap_brings_the_other_map(newest):
    newest.install("pemt-tf[umap]")
    embeddings(newest.work / "embeddings")

    newest.run("pemt", "explore", "embeddings", "--projection", "umap")

    assert "UMAP" in (newest.work / "embeddings" / "explore.html").read_text(encoding="utf-8")


def test_formats_brings_array_records(newest):
    newest.install("pemt-tf")
    media.write_video(newest.work / "videos" / "train" / "a.mp4")
    prepare = (*PREPARE, "videos", "--format", "array_record")
    assert "pip install 'pemt-tf[formats]'" in newest.run(*prepare, code=2).stderr

    newest.install("pemt-tf[formats]")

    assert "1 inputs = 1 written" in newest.run(*prepare).stdout
    convert = ("python", "-m", "beam_jobs.convert", "--input", "records", "--output", "back", "--format", "tfrecord")
    assert "from array_record to tfrecord" in newest.run(*convert).stdout


def test_aws_brings_s3_paths_in_the_jobs(newest, bucket):
    newest.install("pemt-tf[aws]")

    assert EIGHT in newest.run(*PREPARE, str(bucket / "videos")).stdout
    from_bucket = (*PREPARE, "s3://bucket/videos", "--output", "s3://bucket/records")
    assert EIGHT in newest.run(*from_bucket).stdout

    def records(folder):
        return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.suffix == ".tfrecord"}

    assert records(bucket / "records") == records(newest.work / "records") != {}
    assert (bucket / "records" / "errors" / "failures.jsonl").read_bytes() == b""


def test_dataflow_brings_gs_paths_in_the_jobs(newest, bucket):
    newest.install("pemt-tf[dataflow]")
    with emulated_storage() as (client, _):
        for path in (bucket / "videos").rglob("*.mp4"):
            name = f"videos/{path.relative_to(bucket / 'videos')}"
            client.bucket(BUCKET).blob(name).upload_from_filename(str(path))

        assert EIGHT in newest.run(*PREPARE, f"gs://{BUCKET}/videos").stdout


def test_io_brings_s3_paths_in_tf_data(wheel, tmp_path, bucket):
    if (3, 10) not in pythons():
        pytest.skip("tensorflow-io needs Python 3.10, which is not here")
    with fresh_environment(tmp_path, (3, 10), wheel) as environment:
        environment.install("pemt-tf[io]")
        environment.run(*PREPARE, str(bucket / "videos"), "--shards_per_split", "1")
        (records,) = (environment.work / "records" / "train").glob("*.tfrecord")
        (bucket / "clips.tfrecord").write_bytes(records.read_bytes())

        code = READ_RECORDS % "s3://bucket/clips.tfrecord"
        assert "clips: 8" in environment.run("python", "-c", code).stdout


def assert_pipelines_run(environment, command: str) -> None:
    """The scaffold names the command, and the command runs a pipeline."""
    init = environment.run("pemt", "pipeline", "init", "project").stdout
    assert f"PEMT_PIPELINE_DATA=data {command} pipeline run --pipeline-path pipeline/local_runner.py" in init
    (environment.work / "runner.py").write_text(RUNNER)
    assert "Look  COMPLETE" in environment.run(command, "pipeline", "run", "--pipeline-path", "runner.py").stdout
    assert (environment.work / "metadata.sqlite").exists()


def assert_the_command_is_ours(environment) -> None:
    assert "tfx pipeline run --status" in environment.run("tfx", "pipeline", "run", "--help").stdout
    assert re.search(r"ok +command tfx .*/bin/tfx, with `tfx pipeline run`", environment.run("pemt", "doctor").stdout)


def test_tfx_that_was_installed_last_keeps_its_command_and_the_doctor_says_what_to_do(with_tfx):
    with_tfx.install("pemt-tf")
    with_tfx.install("pemt-tf[tfx]")

    # As long as this fails, our own command is needed.
    assert "No such command 'run'" in with_tfx.run("tfx", "pipeline", "run", "--help", code=2).stderr
    assert_pipelines_run(with_tfx, "pemt")
    doctor = with_tfx.run("pemt", "doctor").stdout
    (again,) = re.findall(
        r"warning +command tfx .*\n.* -> use pemt pipeline run in its place; to replace it: (.*)", doctor
    )
    with_tfx.run(*shlex.split(again))
    assert_the_command_is_ours(with_tfx)


def test_tfx_that_was_installed_first_has_our_command(with_tfx):
    with_tfx.install("tfx")
    with_tfx.install("pemt-tf[tfx]")

    assert_the_command_is_ours(with_tfx)
    assert_pipelines_run(with_tfx, "tfx")

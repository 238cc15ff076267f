"""What DataGate finds in records and anomalies, as a component alone."""

import dataclasses
import json

import numpy as np
import pytest

pytest.importorskip("tfx", reason="the tfx extra is not installed")

import tensorflow as tf
from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx.types import standard_artifacts

from pemt_tf.data import records
from pemt_tf.errors import PemtError
from pemt_tf.orchestration.nodes.clip_rules import ClipRules
from pemt_tf.orchestration.nodes.data_gate import DataApproval, DataGateExecutor, anomalies_in_words, findings_in_words
from tests.pipeline.dataset import LABELS, fake_clip, tiny_config

pytestmark = pytest.mark.tfx
GEOMETRY = tiny_config().geometry


class Gate:
    """A gate with its inputs in a folder.

    Args:
        folder: of everything.
        splits: split to clips.
    """

    def __init__(self, folder, splits):
        self.examples, self.anomalies, self.approval = (
            standard_artifacts.Examples(),
            standard_artifacts.ExampleAnomalies(),
            DataApproval(),
        )
        self.clips = {name: len(clips) for name, clips in splits.items()}
        for artifact in (self.examples, self.anomalies):
            artifact.split_names = json.dumps(list(splits))
            artifact.uri = str(folder / type(artifact).__name__)
        self.folder = folder
        self.approval.uri = str(folder / "approval")
        (folder / "approval").mkdir()
        for name, clips in splits.items():
            shard = folder / "Examples" / f"Split-{name}" / "data-00000-of-00001.gz"
            shard.parent.mkdir(parents=True)
            with tf.io.TFRecordWriter(str(shard), "GZIP") as writer:
                for clip in clips:
                    writer.write(records.serialize(clip, GEOMETRY))
            self.store(name, anomalies_pb2.Anomalies())

    def store(self, split, anomalies):
        path = self.folder / "ExampleAnomalies" / f"Split-{split}" / "SchemaDiff.pb"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(anomalies.SerializeToString())

    def open(self, labels=LABELS, clips=None):
        context = DataGateExecutor.Context(beam_pipeline_args=["--runner=FnApiRunner"])
        inputs = {"examples": [self.examples], "anomalies": [self.anomalies]}
        rules = json.dumps(ClipRules(GEOMETRY, labels).to_plain())
        properties = {"rules": rules, "clips": json.dumps(clips or self.clips)}
        DataGateExecutor(context).Do(inputs, {"approval": [self.approval]}, properties)
        return json.loads((self.folder / "approval" / "approval.json").read_text())


def broken(seed: int) -> records.ClipRecord:
    clip = fake_clip(seed, 0)
    clip.log_mel[0, 2, 3] = np.nan
    return clip


def test_good_records_are_approved_and_counted(tmp_path):
    gate = Gate(tmp_path, {"train": [fake_clip(1, 0), fake_clip(2, None)], "test": [fake_clip(3, 1)]})

    assert gate.open() == {"train": 2, "test": 1}
    assert [path.name for path in (tmp_path / "approval").iterdir()] == ["approval.json"]


def test_everything_that_is_wrong_is_said_at_once(tmp_path):
    small = dataclasses.replace(fake_clip(9, 1), height=20, width=20)
    train = [fake_clip(1, 0), *map(broken, (14, 11, 12, 10)), small]
    gate = Gate(tmp_path, {"train": train, "test": [fake_clip(2, 1)]})

    with pytest.raises(PemtError) as refused:
        gate.open(clips={"train": 6, "test": 3})

    assert str(refused.value) == (
        "the data must not be trained on: "
        "split test has 1 clips, and the data set's card says 3; "
        "4 of 6 clips of split train have NaN or infinity in the spectrogram: "
        "fake-000010, fake-000011, fake-000012 ...; "
        "1 of 6 clips of split train have frames whose short side is not the geometry's 32 pixels: fake-000009"
    )
    assert not (tmp_path / "approval" / "approval.json").exists()


def test_anomalies_stop_the_run_without_reading_a_record(tmp_path):
    gate = Gate(tmp_path, {"train": [broken(1)]})
    found = anomalies_pb2.Anomalies()
    info = found.anomaly_info["has_audio"]
    info.severity = anomalies_pb2.AnomalyInfo.ERROR
    info.reason.add(short_description="Column dropped", description="Column is completely missing")
    gate.store("train", found)

    with pytest.raises(PemtError) as refused:
        gate.open()

    assert str(refused.value) == (
        "the data must not be trained on: split train, has_audio: column dropped (Column is completely missing)"
    )


def test_warnings_pass_and_missing_data_does_not():
    found = anomalies_pb2.Anomalies()
    found.anomaly_info["has_audio"].severity = anomalies_pb2.AnomalyInfo.WARNING
    assert anomalies_in_words("train", found) == []

    found.data_missing = True
    assert anomalies_in_words("test", found) == ["split test holds no clip"]


def test_a_split_of_which_no_record_came_is_missed():
    assert findings_in_words({"train": {}}, {"train": 4}) == ["split train has 0 clips, and the data set's card says 4"]

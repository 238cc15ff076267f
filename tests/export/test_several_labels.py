"""A servable of several labels a clip: `scores` and label names, here, on a server, in Python, on the command line."""

import json

import numpy as np
import pytest
import tensorflow as tf

import pemt_tf
from pemt_tf import cli
from pemt_tf.client.prediction_client import PredictionClient
from pemt_tf.data.input_pipeline import evaluation_clips, model_inputs
from pemt_tf.export.local_predictor import LocalPredictor
from pemt_tf.export.saved_model import export_version
from tests.client.model_server import grpc_server, of_saved_model
from tests.fake_dataset import LABELS
from tests.media_files import write_video

pytestmark = pytest.mark.slow  # an export, and its prediction in three ways


@pytest.fixture(scope="module")
def servable(tmp_path_factory, several_run):
    return export_version(several_run, tmp_path_factory.mktemp("servables") / "several")


@pytest.fixture(scope="module")
def records(several_source):
    files = list(several_source.files["test"])
    return list(tf.data.TFRecordDataset(files).as_numpy_iterator())[:4]


def test_scores_are_those_of_the_model(servable, records, several_run, several_source):
    answer = LocalPredictor(servable).answer(records)
    assert set(answer) == {"scores", "labels", "embedding"}
    model, _ = several_run.load_classifier()
    batch = next(iter(evaluation_clips(several_source, "test", 4)))
    np.testing.assert_allclose(answer["scores"], model(model_inputs(batch, ("visual", "audio")))["scores"], atol=1e-4)
    assert ((answer["scores"] > 0) & (answer["scores"] < 1)).all()
    assert np.abs(answer["scores"].sum(axis=1) - 1).max() > 0.2  # they are no distribution
    assert answer["labels"].tolist() == [[label.encode() for label in LABELS]] * 4


def test_the_client_gets_scores_and_the_command_shows_them(capsys, tmp_path, servable, records, several_run):
    write_video(tmp_path / "a.mp4")
    with grpc_server(of_saved_model(servable)) as address:
        with PredictionClient(address) as client:
            prediction = client.predict(records)
            assert client.metadata().prediction == "scores"
        assert prediction.probabilities is None and prediction.labels == LABELS
        np.testing.assert_allclose(prediction.scores, LocalPredictor(servable).answer(records)["scores"], atol=1e-5)
        assert cli.main(["predict", str(tmp_path / "a.mp4"), "--server", address, "--json"]) == 0
    served = json.loads(capsys.readouterr().out)
    assert cli.main(["predict", str(tmp_path / "a.mp4"), "--model", str(servable), "--json"]) == 0
    local = json.loads(capsys.readouterr().out)
    scores = {one["label"]: one["score"] for one in local["predictions"]}
    assert {one["label"]: one["score"] for one in served["predictions"]} == pytest.approx(scores, abs=1e-4)
    values = [one["score"] for one in local["predictions"]]
    assert values == sorted(values, reverse=True) and set(scores) == set(LABELS)
    found = pemt_tf.predict(several_run.path, tmp_path / "a.mp4")[0]
    assert dict(zip(LABELS, found.tolist(), strict=True)) == pytest.approx(scores, abs=1e-4)

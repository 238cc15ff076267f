"""The check that a model loads and answers, in Python; the C++ one is part of the whole runs."""

import sys

import numpy as np
import pytest

pytest.importorskip("tfx", reason="the tfx extra is not installed")

import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from pemt_tf.errors import PemtError
from pemt_tf.orchestration.nodes import cpp_loader
from pemt_tf.orchestration.nodes.serving_check import check_model, warm_up_requests

pytestmark = pytest.mark.tfx


def save_model(folder, answers):
    """A model of one signature, `classify`: it multiplies constants by the sum of its input."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "waveform")], autograph=False)
    def classify(waveform):
        whole = tf.reduce_sum(waveform)
        return {name: tf.constant(value, tf.float32) * whole for name, value in answers.items()}

    module = tf.Module()
    module.weight = tf.Variable(np.ones(5000, np.float32))
    tf.saved_model.save(module, str(folder), signatures={"classify": classify})
    request = predict_pb2.PredictRequest()
    request.model_spec.signature_name = "classify"
    request.inputs["waveform"].CopyFrom(tf.make_tensor_proto(np.float32([0.25, 0.75])))
    log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
    (folder / "assets.extra").mkdir()
    with tf.io.TFRecordWriter(str(folder / "assets.extra" / "tf_serving_warmup_requests")) as writer:
        writer.write(log.SerializeToString())
    return folder


def test_a_good_model_answers_its_own_warm_up_requests(tmp_path):
    model = save_model(tmp_path / "model", {"probabilities": [[0.25, 0.75]], "embedding": [[3.0]]})

    answers = check_model(model, "python")

    assert warm_up_requests(model)["classify"]["waveform"].tolist() == [0.25, 0.75]
    assert {key: value.tolist() for key, value in answers.items()} == {
        ("classify", "probabilities"): [[0.25, 0.75]],
        ("classify", "embedding"): [[3.0]],
    }


def test_a_damaged_model_does_not_pass(tmp_path):
    model = save_model(tmp_path / "model", {"embedding": [[3.0]]})
    data = model / "variables" / "variables.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:1000])

    with pytest.raises(PemtError, match=r"^the model is not fit for serving: \S") as refused:
        check_model(model, "python")
    assert "\n" not in str(refused.value)

    (model / "assets.extra" / "tf_serving_warmup_requests").unlink()
    with pytest.raises(PemtError, match="holds no warm-up requests"):
        check_model(model, "python")


@pytest.mark.parametrize(
    ("output", "values", "says"),
    [
        ("embedding", [[1.0, np.nan]], "classify returns NaN or infinity in embedding"),
        ("probabilities", [[0.5, 0.3]], "classify returns probabilities that do not sum to 1"),
        ("probabilities", np.zeros((0, 2)), "classify returns an empty probabilities"),
    ],
)
def test_answers_that_make_no_sense_do_not_pass(tmp_path, output, values, says):
    model = save_model(tmp_path / "model", {output: values})

    with pytest.raises(PemtError, match=says):
        check_model(model, "python")


def test_without_a_compiler_it_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv("CXX", "no-such-compiler")

    with pytest.raises(PemtError, match=r"there is no C.. compiler here .* or set infra_check to python"):
        cpp_loader.build_loader(tmp_path)


@pytest.mark.parametrize(("compiler", "auto"), [("no-such-compiler", "python"), (sys.executable, "cpp")])
def test_the_check_in_cpp_is_an_option_where_a_compiler_is(monkeypatch, compiler, auto):
    monkeypatch.setenv("CXX", compiler)

    assert cpp_loader.resolved_check("auto") == auto
    assert [cpp_loader.resolved_check(how) for how in ("cpp", "python")] == ["cpp", "python"]

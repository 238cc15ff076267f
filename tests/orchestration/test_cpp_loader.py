"""Every signature of the exported models, run by the C++ loader that TF Serving uses, against Python's answers."""

import subprocess

import numpy as np
import pytest
import tensorflow as tf

from pemt_tf.orchestration.nodes.cpp_loader import build_loader, find_compiler, run_loader, write_request
from tests.client.malformed_requests import malformed_requests

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_compiler() is None, reason="g++ is not installed, so the C++ loader cannot be built"),
]


@pytest.fixture(scope="session")
def loader(tmp_path_factory):
    """The program, compiled against the installed TensorFlow."""
    return build_loader(tmp_path_factory.mktemp("cpp"))


def media(rng, segments):
    frames = rng.integers(0, 256, (2, segments, 2, 27, 31, 3), np.uint8)
    return frames, rng.normal(0, 0.3, (2, segments, 2000)).astype(np.float32)


@pytest.mark.parametrize("servable", ["classifier_servable", "backbone_servable"])
def test_every_signature_answers_as_in_python(request, tmp_path, loader, clip_source, servable):
    model = request.getfixturevalue(servable)
    signatures = tf.saved_model.load(str(model)).signatures
    rng = np.random.default_rng(1)
    examples = np.array([raw.numpy() for raw in tf.data.TFRecordDataset(list(clip_source.files["test"]))], object)
    expected = {}
    for number, (name, signature) in enumerate(signatures.items()):
        frames, waveform = media(rng, segments=1 + number)
        fields = np.array([b"labels", b"all"], object)
        values = {"frames": frames, "waveform": waveform, "examples": examples, "fields": fields}
        inputs = {key: values[key] for key in signature.structured_input_signature[1]}
        for key, value in inputs.items():
            write_request(tmp_path / name / key, value)
        answer = signature(**{key: tf.constant(value) for key, value in inputs.items()})
        expected |= {(name, output): tensor.numpy() for output, tensor in answer.items()}
    answers = run_loader(loader, model, tmp_path)
    assert answers.keys() == expected.keys()
    for key, value in answers.items():
        if value.dtype == object:
            np.testing.assert_array_equal(value, expected[key], err_msg=str(key))
        else:
            np.testing.assert_allclose(value, expected[key], atol=1e-5, err_msg=str(key))


def test_malformed_requests_are_refused_in_words(tmp_path, loader, classifier_servable, small_config):
    """No check is left out by the optimizer; the code is INVALID_ARGUMENT, and the message says what is wrong."""
    cases = malformed_requests(small_config.geometry)
    for name, (signature, inputs, _) in cases.items():
        for key, value in inputs.items():
            suffix = ".float" if key == "frames" and value.dtype == np.float32 else ""
            write_request(tmp_path / name / signature / f"{key}{suffix}", np.asarray(value))
    command = [loader, classifier_servable, tmp_path, "refused"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    answers = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert answers.keys() == cases.keys()
    for name, (_, _, message) in cases.items():
        assert answers[name].startswith("INVALID_ARGUMENT: "), (name, answers[name])
        assert message in answers[name], (name, answers[name])


def test_no_model_is_an_error(tmp_path, loader):
    done = subprocess.run([loader, tmp_path, tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "error: loading" in done.stderr

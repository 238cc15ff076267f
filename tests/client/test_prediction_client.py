"""The client against a server that speaks both protocols: what goes over the wire, what comes back, and every fault."""

import base64
import contextlib
import json
import socket
import threading
import time

import numpy as np
import pytest
import tensorflow as tf

from pemt_tf.client.prediction_client import PredictionClient, PredictionError
from pemt_tf.client.prediction_error import server_sentence
from pemt_tf.client.retry_policy import RetryPolicy
from pemt_tf.errors import PemtError
from tests.client import model_server
from tests.client.model_server import grpc_server, refuse, say, slow
from tests.client.served_model import COLUMNS, GRPC, LABELS, ROWS, SIGNATURES, asked, connected


@pytest.mark.parametrize("transport", [GRPC, COLUMNS, ROWS])
def test_answers_are_the_same_over_every_transport(server, transport):
    with connected(server, transport, batch=2) as client:
        prediction = client.predict([b"\xff\x00", b"abc", b"\n"])
        assert prediction.labels == LABELS
        np.testing.assert_array_equal(prediction.probabilities, [[0.25, 0.75]] * 3)
        np.testing.assert_array_equal(prediction.embedding, [[2, -1.5, np.nan], [3, -1.5, np.nan], [1, -1.5, np.nan]])
        assert prediction.probabilities.dtype == prediction.embedding.dtype == np.float32
        assert prediction.version == (7 if transport == GRPC else None)
        assert client.metadata().version == 7
        assert [(one.version, one.state, one.error_code) for one in client.model_status()] == [
            (3, "AVAILABLE", "OK"),
            (7, "AVAILABLE", "OK"),
        ]
        signatures = client.signatures()
        assert signatures.keys() == SIGNATURES.keys()
        assert signatures["classify"].inputs == {"frames": "DT_UINT8", "waveform": "DT_FLOAT"}
        assert signatures["metadata"].outputs == {"json": "DT_STRING"}
    assert len(asked(server)) == (2 if transport == GRPC else 3)  # two batches; over REST the status counts as well


def test_what_goes_over_grpc(server):
    with connected(server, GRPC, version=3) as client:
        client.predict([b"\xff\x00"])
        client.predict(frames=np.zeros((2, 1, 2, 4, 4, 3), np.uint8))
    first, second = asked(server)
    assert (first.model_spec.name, first.model_spec.version.value) == ("pemt", 3)
    assert first.model_spec.signature_name == "serving_default"
    assert list(first.output_filter) == ["probabilities", "labels", "embedding"]
    proto = first.inputs["examples"]
    assert (proto.dtype, [d.size for d in proto.tensor_shape.dim]) == (tf.string.as_datatype_enum, [1])
    assert list(proto.string_val) == [b"\xff\x00"]
    assert second.model_spec.signature_name == "classify_visual"
    assert [d.size for d in second.inputs["frames"].tensor_shape.dim] == [2, 1, 2, 4, 4, 3]
    assert second.ByteSize() < 2 * 1 * 2 * 4 * 4 * 3 + 200  # pixels as bytes, not as numbers


def test_a_label_goes_over_grpc(server):
    with connected(server, GRPC, label="stable") as client:
        assert client.predict([b"x"]).version == 3
    assert asked(server)[0].model_spec.version_label == "stable"


@pytest.mark.parametrize(
    ("selection", "path"),
    [
        ({}, "/v1/models/pemt"),
        ({"version": 3}, "/v1/models/pemt/versions/3"),
        ({"label": "stable"}, "/v1/models/pemt/labels/stable"),
    ],
)
def test_what_goes_over_rest(server, selection, path):
    encoded = [base64.b64encode(raw).decode() for raw in (b"\xff\x00", b"abc")]
    with connected(server, COLUMNS, **selection) as client:
        client.predict([b"\xff\x00", b"abc"])
    with connected(server, ROWS, **selection) as client:
        client.predict([b"\xff\x00", b"abc"])
    columns, rows = asked(server)
    assert columns[:2] == rows[:2] == ("POST", f"{path}:predict")
    assert json.loads(columns[2]) == {
        "signature_name": "serving_default",
        "inputs": {"examples": [{"b64": encoded[0]}, {"b64": encoded[1]}]},
    }
    assert json.loads(rows[2]) == {
        "signature_name": "serving_default",
        "instances": [{"examples": {"b64": encoded[0]}}, {"examples": {"b64": encoded[1]}}],
    }
    questions = [json.loads(body) for _, _, body in server.requests if "metadata" in body]
    assert questions[0] == {"signature_name": "metadata", "inputs": {"fields": ["all"]}}
    assert questions[1] == {"signature_name": "metadata", "instances": [{"fields": "all"}]}


def test_raw_media_over_rest_rows(server):
    frames = np.arange(2 * 12, dtype=np.uint8).reshape(2, 1, 1, 2, 2, 3)
    waveform = np.array([[[0.5, -1]], [[np.inf, 0]]], np.float32)
    with connected(server, ROWS) as client:
        prediction = client.predict(frames=frames, waveform=waveform)
    np.testing.assert_array_equal(prediction.embedding[:, 0], [5.5, 17.5])
    (request,) = asked(server)
    body = json.loads(request[2])
    assert body["signature_name"] == "classify"
    assert body["instances"][1] == {"frames": frames[1].tolist(), "waveform": [[float("inf"), 0.0]]}
    assert "Infinity" in request[2]


@pytest.mark.parametrize("transport", [GRPC, COLUMNS])
def test_unavailable_is_asked_again(server, transport, monkeypatch):
    waits = []
    monkeypatch.setattr(RetryPolicy.run, "__defaults__", (waits.append, time.monotonic, lambda: 1.0))
    with connected(server, transport, attempts=5) as client:
        client.metadata()
        server.faults = [refuse("UNAVAILABLE"), refuse("UNAVAILABLE")]
        assert client.predict([b"x"]).embedding[0, 0] == 1
        assert len(asked(server)) == 3
        assert waits == [0.2, 0.4]
        server.faults = [refuse("UNAVAILABLE", "loading")] * 9
        with pytest.raises(PredictionError, match=r"cannot reach 127\.0\.0\.1:\d+ \(loading") as raised:
            client.predict([b"x"])
        assert raised.value.code == "UNAVAILABLE"
        assert len(asked(server)) == 3 + 5
        assert waits[2:] == [0.2, 0.4, 0.8, 1.6]


@pytest.mark.parametrize("transport", [GRPC, COLUMNS])
@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("INVALID_ARGUMENT", r"refuses the request: frames has 5 dimensions"),
        ("NOT_FOUND", r"does not serve model pemt: frames has 5 dimensions"),
        ("INTERNAL", r"failed with INTERNAL: frames has 5 dimensions"),
        ("DEADLINE_EXCEEDED", r"did not answer within 20 s; raise --timeout"),
    ],
)
def test_everything_else_is_not_asked_again(server, transport, code, message):
    with connected(server, transport) as client:
        client.metadata()
        said = "{{function_node f}} assertion failed: [frames has 5 dimensions; it isn't 6: [a, b]]\n\t [[{{node A}}]]"
        server.faults = [refuse(code, said)]
        with pytest.raises(PredictionError, match=message) as raised:
            client.predict([b"x"])
        assert raised.value.code == code
        assert "node" not in str(raised.value) and "\n" not in str(raised.value)
        assert "it isn't 6: [a, b]" in str(raised.value) or code == "DEADLINE_EXCEEDED"
        assert len([one for one in asked(server) if one[0] != "GET"] if transport == COLUMNS else asked(server)) == 1
        assert client.predict([b"x"]).labels == LABELS  # the connection is still good


@pytest.mark.parametrize("transport", [GRPC, COLUMNS])
def test_a_slow_server_is_not_waited_for(server, transport):
    with connected(server, transport) as client:
        client.metadata()
        client._retry = RetryPolicy(0.3)
        server.faults = [slow(1.5)]
        start = time.monotonic()
        with pytest.raises(PredictionError, match="did not answer within") as raised:
            client.predict([b"x"])
        assert raised.value.code == "DEADLINE_EXCEEDED"
        assert time.monotonic() - start < 1.2
        assert len(asked(server)) == 1


def test_a_dropped_connection_is_asked_again(server):
    with connected(server, COLUMNS) as client:
        client.metadata()
        server.faults = [say("drop"), say("drop")]
        assert client.predict([b"x"]).labels == LABELS
        assert len(asked(server)) == 3


@contextlib.contextmanager
def talker(answer):
    """A socket that says something to whoever connects, and hangs up; counts connections."""
    listener = socket.create_server(("127.0.0.1", 0))
    connections = []

    def serve():
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                connections.append(connection)
                with connection, contextlib.suppress(OSError):
                    answer(connection)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}", connections
    finally:
        listener.close()


def drip(connection):
    """One byte at a time: no single read is slow."""
    connection.recv(1 << 16)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    for _ in range(40):
        time.sleep(0.1)
        connection.sendall(b" ")


def test_a_dripping_server_meets_the_deadline():
    with talker(drip) as (address, _), PredictionClient(address, rest=True, timeout=0.6) as client:
        start = time.monotonic()
        with pytest.raises(PredictionError, match=r"did not answer within 0\.6 s"):
            client.model_status()
        assert time.monotonic() - start < 2


def test_a_server_that_hangs_up(monkeypatch):
    monkeypatch.setattr(RetryPolicy.run, "__defaults__", (lambda _: None, time.monotonic, lambda: 1.0))
    with talker(lambda connection: connection.recv(4096)) as (address, connections):
        with PredictionClient(address, rest=True, attempts=3) as client:
            with pytest.raises(PredictionError, match="cannot reach"):
                client.model_status()
            assert len(connections) == 3
        with PredictionClient(address, timeout=5, attempts=2) as client:
            with pytest.raises(PredictionError, match="cannot reach") as raised:
                client.model_status()
            assert raised.value.code == "UNAVAILABLE"


@pytest.mark.parametrize("rest", [False, True])
def test_nobody_there(rest):
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    error = pytest.raises(PredictionError, match=f"cannot reach {address} .*is the server running")
    with PredictionClient(address, rest=rest, attempts=2, timeout=5) as client, error as raised:
        client.predict([b"x"])
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("transport", [GRPC, COLUMNS])
@pytest.mark.parametrize(
    ("selection", "message"),
    [
        ({"model": "other"}, "does not serve model other: Servable not found for request"),
        ({"version": 4}, "does not serve model pemt version 4: Servable not found for request: Specific"),
        ({"label": "canary"}, "refuses the request: Unrecognized servable version label: canary"),
    ],
)
def test_a_model_that_is_not_there(server, transport, selection, message):
    with connected(server, transport, **selection) as client, pytest.raises(PredictionError, match=message):
        client.predict([b"x"])
    asked_for_answers = [one for one in server.requests if transport == GRPC or one[0] == "POST"]
    assert len(asked_for_answers) == 1


def test_a_message_that_is_too_large(server):
    for transport in (GRPC, COLUMNS):
        with (
            connected(server, transport, max_message_mb=0.05) as client,
            pytest.raises(PredictionError, match=r"a request of \d\.\d MB is above the limit of 0\.1 MB; send rec"),
        ):
            client.predict(frames=np.zeros((1, 1, 2, 150, 150, 3), np.uint8))
    assert not asked(server)
    with grpc_server(server, max_message=20_000) as address, PredictionClient(address) as client:
        client.metadata()
        with pytest.raises(PredictionError, match=r"larger than max.*send records instead of raw frames") as raised:
            client.predict([bytes(30_000)])
    assert raised.value.code == "RESOURCE_EXHAUSTED"


@pytest.mark.parametrize("transport", [GRPC, COLUMNS])
def test_an_answer_that_is_too_large(server, transport):
    with connected(server, transport, batch=5000) as client:
        client.metadata()
        client.predict([b"x"] * 3000)
    records = np.array([b"x"] * 3000, object)  # requests of `predict` would be small enough for their answers
    error = pytest.raises(PredictionError, match=r"larger than max|a response of")
    with connected(server, transport, batch=5000, max_message_mb=0.08) as client, error as raised:
        client.call("serving_default", {"examples": records}, ("probabilities", "labels", "embedding"))
    assert raised.value.code == "RESOURCE_EXHAUSTED"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("{ not json", "responded with something other than JSON"),
        ("[]", "did not respond as TensorFlow Serving does"),
        ('{"predictions": []}', "did not respond as TensorFlow Serving does"),
        ('{"outputs": {"embedding": [["a"]]}}', "did not respond as TensorFlow Serving does"),
        (
            '{"outputs": {"probabilities": [[1], [1, 2]], "labels": [], "embedding": []}}',
            "did not respond as TensorFlow Serving does",
        ),
    ],
)
def test_answers_that_are_damaged(server, body, message):
    with connected(server, COLUMNS) as client:
        client.metadata()
        server.faults = [say(body)]
        with pytest.raises(PredictionError, match=message):
            client.predict([b"x"])


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        ("{{function_node f}} assertion failed: [a [b] is c]\n\t [[{{node A}}]]", "a [b] is c"),
        ("2 root error(s) found.\n  (0) INVALID_ARGUMENT: assertion failed: [no]\n\t [[{{node A}}]]\n(1) x", "no"),
        ("Invalid JPEG data, size 30\n\t [[{{node D}}]]", "Invalid JPEG data, size 30"),
        ("Graph execution error:\n\nDetected at node D\nInvalid JPEG\n\t [[{{node D}}]]", "Invalid JPEG"),
        ("Could not parse example input, value: '\n\x08\xff\n\t [[x'", "Could not parse example input"),
        ("", "no reason given"),
    ],
)
def test_the_part_of_a_message_for_people(message, sentence):
    assert server_sentence(message) == sentence


def test_escapes_of_error_bodies(server):
    """TensorFlow Serving escapes as C does: neither apostrophes nor other letters come as JSON knows them."""
    text = 'it isn\'t "ö" \\ \t.'
    assert model_server.c_escape(text) == r"it isn\'t \"\303\266\" \\ \t."
    with connected(server, COLUMNS) as client:
        server.faults = [refuse("INTERNAL", text)]
        with pytest.raises(PredictionError) as raised:
            client.model_status()
    assert text.strip() in str(raised.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"server": "localhost"}, "has no port; write host:port"),
        ({"server": "http://localhost:8500"}, r"is a URL; gRPC takes host:port \(or give --rest\)"),
        ({"server": "ftp://localhost:1", "rest": True}, "is not an address"),
        ({"server": "localhost:port", "rest": True}, "has no valid port"),
        ({"version": 1, "label": "stable"}, "give one of them"),
        ({"version": -1}, "versions count from 1"),
        ({"model": "a/b"}, "is not a name of a model"),
        ({"batch": 0}, "--batch 0 is not above 0"),
        ({"timeout": 0}, "must be above 0"),
        ({"attempts": 0}, "at least 1 is needed"),
        ({"max_message_mb": 3000}, "--max-message-mb 3000 is out of range"),
        ({"rest": True, "rest_layout": "diagonal"}, "choose columns or rows"),
    ],
)
def test_arguments_that_make_no_sense(arguments, message):
    with pytest.raises(PemtError, match=message):
        PredictionClient(**{"server": "localhost:8500", **arguments})


def test_calls_that_make_no_sense(server):
    with connected(server, COLUMNS) as client:
        frames, waveform = np.zeros((2, 1, 2, 4, 4, 3), np.uint8), np.zeros((1, 1, 5), np.float32)
        for arguments, message in (
            ({}, "give either records, or frames and waveform"),
            ({"records": [b"x"], "frames": frames}, "give either records, or frames and waveform"),
            ({"records": []}, "at least one clip is needed"),
            ({"frames": frames, "waveform": waveform}, "the same number of each"),
        ):
            with pytest.raises(PemtError, match=message):
                client.predict(**arguments)
    assert not asked(server)

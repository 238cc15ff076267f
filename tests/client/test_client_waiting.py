"""The client waits for a server that is starting or busy, and for nothing else."""

import contextlib
import re
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from pemt_tf.client.connection_fault import connection_fault
from pemt_tf.client.prediction_client import PredictionClient, PredictionError
from pemt_tf.client.prediction_error import explain
from pemt_tf.client.retry_policy import RetryPolicy
from pemt_tf.errors import PemtError
from tests.client.model_server import grpc_server, refuse, rest_server, slow
from tests.client.served_model import COLUMNS, GRPC, ROWS, asked, connected

THREADS = "Server Threadpool Exhausted"  # as gRPC's C++ server says it
LARGE = "SERVER: Received message larger than max (5000000 vs. 4194304)"
MEMORY = "OOM when allocating tensor with shape[8,320,128,128,3]; too many requests"


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


@pytest.mark.parametrize("transport", [GRPC, COLUMNS])
def test_a_server_that_is_starting_is_waited_for(server, transport):
    port, lines, stop = free_port(), [], threading.Event()

    def start_late():
        time.sleep(1.2)
        with (grpc_server if transport == GRPC else rest_server)(server, port=port):
            stop.wait(30)

    starter = threading.Thread(target=start_late)
    starter.start()
    rest = transport != GRPC
    try:
        with PredictionClient(f"127.0.0.1:{port}", rest=rest, timeout=25, on_wait=lines.append) as client:
            assert client.predict([b"abc"]).embedding[0, 0] == 3
    finally:
        stop.set()
        starter.join()
    (line,) = lines
    assert re.fullmatch(rf"waiting for 127\.0\.0\.1:{port}, at most 25 s: (\[Errno 111\] )?Connection refused", line)


@pytest.mark.parametrize("rest", [False, True])
def test_it_is_waited_for_until_the_timeout_and_not_longer(rest):
    lines = []
    start = time.monotonic()
    with PredictionClient(f"127.0.0.1:{free_port()}", rest=rest, timeout=4, on_wait=lines.append) as client:
        with pytest.raises(PredictionError, match=r"\((\[Errno 111\] )?Connection refused\); is the server running"):
            client.model_status()
        assert 3.5 < time.monotonic() - start < 4.5
    assert len(lines) == 1


@pytest.mark.parametrize("transport", [GRPC, COLUMNS])
def test_a_version_that_is_being_loaded_is_waited_for(server, transport):
    server.loading = {7}
    lines = []
    with connected(server, transport, version=7, on_wait=lines.append) as client:
        threading.Timer(0.8, server.loading.clear).start()
        assert client.predict([b"abc"]).embedding[0, 0] == 3
    assert [line.partition(" s: ")[2] for line in lines] == ["model pemt version 7 is being loaded"]


def test_threads_that_are_all_taken_are_waited_for(server):
    """Of eight clients all get an answer from a server that takes one request at a time, by its own limit."""
    with grpc_server(server, at_once=1) as address:

        def one(number):
            with PredictionClient(address, timeout=60) as client:
                return client.predict([b"x" * number]).embedding[0, 0]

        server.faults = [slow(0.1)] * 16  # metadata and prediction of each
        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(one, range(1, 9))) == list(range(1, 9))


@pytest.mark.parametrize("transport", [GRPC, COLUMNS])
@pytest.mark.parametrize("message", [THREADS, "Concurrent RPC limit exceeded!", "Too Many Requests"])
def test_a_server_with_too_much_to_do_is_asked_again(server, transport, message, monkeypatch):
    waits = []
    monkeypatch.setattr(RetryPolicy.run, "__defaults__", (waits.append, time.monotonic, lambda: 1.0))
    with connected(server, transport, attempts=3) as client:
        client.metadata()
        server.faults = [refuse("RESOURCE_EXHAUSTED", message)] * 2
        assert client.predict([b"x"]).embedding[0, 0] == 1
        assert waits == [0.2, 0.4]
        server.faults = [refuse("RESOURCE_EXHAUSTED", message)] * 3
        with pytest.raises(PredictionError, match=r"is too busy \(.*--grpc_max_threads") as raised:
            client.predict([b"x"])
    assert raised.value.code == "RESOURCE_EXHAUSTED"


@pytest.mark.parametrize(
    ("said", "told"), [(LARGE, "give --max-message-mb below that"), (MEMORY, "RESOURCE_EXHAUSTED")]
)
@pytest.mark.parametrize("transport", [GRPC, COLUMNS])
def test_other_exhaustion_would_come_again(server, transport, said, told):
    with connected(server, transport) as client:
        client.metadata()
        server.faults = [refuse("RESOURCE_EXHAUSTED", said)]
        with pytest.raises(PredictionError, match=told):
            client.predict([b"x"])
        assert len(asked(server)) == 1


class Clock:
    """Time that only waiting moves."""

    def __init__(self):
        self.now, self.waits = 0.0, []

    def sleep(self, seconds):
        self.waits.append(round(seconds, 9))
        self.now += seconds


def outcome(policy, codes, chance=lambda: 1.0):
    clock, given = Clock(), []

    def attempt(seconds):
        given.append(round(seconds, 9))
        code = codes[len(given) - 1]
        if code:
            raise PredictionError(code, code)
        return "answer"

    try:
        result = policy.run(attempt, clock.sleep, lambda: clock.now, chance)
    except PredictionError as error:
        result = error.code
    return result, given, clock.waits


def test_retry_policy():
    down = "UNAVAILABLE"
    policy = RetryPolicy(timeout=10, attempts=4, first_wait=1, longest_wait=3)
    assert outcome(policy, [None]) == ("answer", [10], [])
    assert outcome(policy, [down, None]) == ("answer", [10, 9], [1])
    assert outcome(policy, [down, "INTERNAL"]) == ("INTERNAL", [10, 9], [1])
    assert outcome(policy, [down] * 4) == (down, [10, 9, 7, 4], [1, 2, 3])
    assert outcome(policy, [down] * 4, chance=lambda: 0.0) == (down, [10, 9.5, 8.5, 7], [0.5, 1, 1.5])
    assert outcome(RetryPolicy(timeout=2.5, first_wait=1), [down] * 5) == (down, [2.5, 1.5, 0.75], [1, 0.75])


def test_attempts_are_unlimited_unless_they_are_given():
    busy = "UNAVAILABLE"
    codes = [busy] * 8 + [None]
    result, _, waits = outcome(RetryPolicy(timeout=60), codes)
    assert (result, waits) == ("answer", [0.2, 0.4, 0.8, 1.6, 3.2, 5, 5, 5])
    assert outcome(RetryPolicy(timeout=60, attempts=5), codes)[0] == busy
    with pytest.raises(PemtError, match="at least 1"):
        RetryPolicy(attempts=0)


# What grpcio 1.60 to 1.85 and Python 3.10 to 3.13 said when they were tried, and a word of what is told.
GRPC_FAULTS = {
    "Trying to connect an http1.x server": "not a gRPC port",
    "last error: UNAVAILABLE: ipv4:127.0.0.1:39203: Failed parsing HTTP/2 (Expected "
    "SETTINGS frame as the first frame, got frame type 79)": "not a gRPC port",
    "last error: UNKNOWN: ipv4:1.2.3.4:1: Tls handshake failed (TSI_PROTOCOL_FAILURE): "
    "SSL_ERROR_SSL: error:100000f7:SSL routines:OPENSSL_internal:WRONG_VERSION_NUMBER: Invalid": "does not speak TLS",
    "Ssl handshake failed: SSL_ERROR_SSL: error:1000007d:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED: self "
    "signed certificate": "--tls-ca",
    "last error: UNKNOWN: ipv4:127.0.0.1:34375: Cannot check peer: missing selected ALPN property.": "not a gRPC port",
    "errors resolving nosuchhost:1: [field:hostname lookup error:address lookup failed for nosuchhost:1: Domain name "
    "not found]": "unknown host name",
    "[Errno -2] Name or service not known": "unknown host name",
    "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: Hostname mismatch, certificate": "host name",
    "[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1007)": "does not speak TLS",
    "[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] tlsv13 alert certificate required": "--tls-cert",
}


@pytest.mark.parametrize(("message", "told"), GRPC_FAULTS.items())
def test_faults_that_waiting_does_not_mend(message, told):
    error = explain("UNAVAILABLE", message, "host:1", "model pemt", 60)
    assert told in str(error) and not error.again
    assert str(error).startswith("host:1 ") and "\n" not in str(error)


@pytest.mark.parametrize(
    "message",
    ["Connection refused", "Connection reset by peer", "Socket closed", "No route to host", "", "Remote end closed"],
)
def test_what_a_starting_server_says_is_no_fault(message):
    assert connection_fault(message) is None
    assert explain("UNAVAILABLE", message, "host:1", "model pemt", 60).again


@pytest.mark.parametrize(("serve", "rest"), [(rest_server, False), (grpc_server, True)])
def test_the_port_of_the_other_protocol(server, serve, rest):
    """At once, in plain words: no control bytes, though gRPC answers HTTP/1 with some."""
    start = time.monotonic()
    with serve(server) as address, PredictionClient(address, rest=rest, timeout=30) as client:
        error = pytest.raises(PredictionError)
        with error as raised:
            client.predict([b"x"])
    assert time.monotonic() - start < 10
    text = str(raised.value)
    told = "it is a gRPC port; leave out --rest" if rest else "it is not a gRPC port; give --rest"
    assert told in text and text.isprintable()


def test_control_characters_are_not_shown():
    error = explain("INTERNAL", "a\x00\x1b[31mb", "host:1", "model pemt", 60)
    assert str(error).isprintable()


@pytest.mark.parametrize("transport", [GRPC, COLUMNS])
def test_a_refused_record_is_named_by_its_number_among_all(server, transport):
    """Also where the server's words do not tell which it was; then each is asked by itself."""
    with connected(server, transport, batch=3) as client:
        client.metadata()
        own = refuse("INVALID_ARGUMENT", "assertion failed: [examples[1] has 5 pictures; expected 6]\n\t [[x]]")
        server.faults = [lambda: None, own]
        with pytest.raises(PredictionError, match=r"refuses the request: examples\[4\] has 5 pictures; expected 6$"):
            client.predict([b"a", b"b", b"c", b"d", b"e"])
        foreign = refuse("INVALID_ARGUMENT", "{{function_node f}} Invalid JPEG data, size 30\n\t [[{{node D}}]]")
        server.faults = [lambda: None, foreign, lambda: None, foreign]
        with pytest.raises(PredictionError, match=r"refuses the request: examples\[4\]: Invalid JPEG data, size 30"):
            client.predict([b"a", b"b", b"c", b"d", b"e", b"f"])


@pytest.mark.parametrize("transport", [GRPC, COLUMNS, ROWS])
def test_requests_are_no_larger_than_was_reckoned(server, transport):
    """And not much smaller: the reckoning decides how many clips go together."""
    rng = np.random.default_rng(0)
    wave = rng.normal(0, 1e-30, (2, 3, 500)).astype(np.float32)  # the longest numbers have exponents
    for inputs in (
        {"examples": np.array([bytes(9_000), b"\xff" * 10_001], object)},
        {"frames": rng.integers(100, 256, (2, 1, 2, 30, 31, 3), np.uint8)},
        {"frames": rng.integers(100, 256, (2, 1, 2, 30, 31, 3), np.uint8), "waveform": wave},
    ):
        server.requests.clear()
        with connected(server, transport) as client:
            client.metadata()
            reckoned = client._transport.request_bytes(inputs)
            client.predict(inputs["examples"].tolist()) if "examples" in inputs else client.predict(**inputs)
        (sent,) = asked(server)
        size = sent.ByteSize() if transport == GRPC else len(sent[2])
        assert 0.7 * reckoned < size <= reckoned + 4096, (list(inputs), reckoned, size)


def test_batches_by_bytes(server):
    """Records that would not fit together go one after the other; numbers of clips are kept."""
    with connected(server, COLUMNS, max_message_mb=0.1) as client:
        lengths = [30_000, 30_000, 30_000, 10, 60_000, 10, 10]  # 40,000 letters of base64 each, or 80,000
        np.testing.assert_array_equal(client.predict([b"x" * n for n in lengths]).embedding[:, 0], lengths)
    bodies = [body for method, _, body in asked(server)]
    assert [body.count("b64") for body in bodies] == [2, 2, 3]
    assert max(map(len, bodies)) < 100_000
    with connected(server, COLUMNS, max_message_mb=0.1) as client, contextlib.suppress(PredictionError):
        client.predict([b"x" * 80_000])
    assert len(asked(server)) == 3

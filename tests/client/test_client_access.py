"""TLS, certificates, headers and tokens, against servers that really ask for them; and the health check."""

import contextlib
import ssl
import time
from pathlib import Path

import grpc
import pytest

pytest.importorskip("cryptography", reason="certificates for the tests are made with it")

from pemt_tf import cli
from pemt_tf.client.prediction_client import PredictionClient, PredictionError, ServerAccess
from pemt_tf.client.server_access import bearer, parsed_header
from pemt_tf.commands.server_flags import connect
from pemt_tf.errors import PemtError
from tests.client.certificates import Authority
from tests.client.model_server import grpc_server, refuse, rest_server
from tests.client.served_model import COLUMNS, GRPC, connected


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def pair(authority):
    return authority.issue("server", ["localhost", "127.0.0.1"])


@contextlib.contextmanager
def encrypted(server, rest, pair, clients_ca=None):
    """The address of a server with TLS; with an authority it wants certificates of its clients."""
    certificate, key = pair
    if rest:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        if clients_ca:
            context.load_verify_locations(clients_ca)
            context.verify_mode = ssl.CERT_REQUIRED
        serving = rest_server(server, context=context)
    else:
        chain = [(Path(key).read_bytes(), Path(certificate).read_bytes())]
        root = Path(clients_ca).read_bytes() if clients_ca else None
        serving = grpc_server(server, credentials=grpc.ssl_server_credentials(chain, root, bool(clients_ca)))
    with serving as address:
        yield address


def answer(address, rest, access, timeout=20.0, **options):
    with PredictionClient(address, rest=rest, access=access, timeout=timeout, **options) as client:
        return client.predict([b"abc"]).embedding[0, 0]


@pytest.mark.parametrize("rest", [False, True])
def test_encrypted(server, rest, authority, pair):
    with encrypted(server, rest, pair) as address:
        assert answer(address, rest, ServerAccess(ca=authority.ca)) == 3
        if rest:
            assert answer(f"https://{address}", rest, ServerAccess(ca=authority.ca)) == 3
        start = time.monotonic()
        with pytest.raises(PredictionError, match=r"cannot be trusted; give the file of its authority \(--tls-ca\)"):
            answer(address, rest, ServerAccess(tls=True), 60)
        assert time.monotonic() - start < 20
        with pytest.raises(PredictionError, match=r"want.? TLS"):
            answer(address, rest, ServerAccess(), 1)


@pytest.mark.parametrize("rest", [False, True])
def test_the_authorities_of_the_system(server, rest, authority, pair, monkeypatch):
    """Of both protocols: gRPC by itself would know only the list that it brings along."""
    monkeypatch.setenv("SSL_CERT_FILE", authority.ca)
    with encrypted(server, rest, pair) as address:
        assert answer(address, rest, ServerAccess(tls=True)) == 3


@pytest.mark.parametrize("rest", [False, True])
def test_a_certificate_of_another_host(server, rest, authority):
    other = authority.issue("other", ["models.example.org"])
    with encrypted(server, rest, other) as address, pytest.raises(PredictionError, match="host name in the cert"):
        answer(address, rest, ServerAccess(ca=authority.ca), 60)


@pytest.mark.parametrize("rest", [False, True])
def test_certificates_of_clients(server, rest, authority, pair):
    certificate, key = authority.issue("client", ["client"])
    with encrypted(server, rest, pair, authority.ca) as address:
        assert answer(address, rest, ServerAccess(True, authority.ca, certificate, key)) == 3
        with pytest.raises(PredictionError, match=r"--tls-cert|cannot reach"):
            answer(address, rest, ServerAccess(ca=authority.ca), 1)


@pytest.mark.parametrize(("serve", "rest"), [(grpc_server, False), (rest_server, True)])
def test_tls_where_there_is_none(server, authority, serve, rest):
    with serve(server) as address, pytest.raises(PredictionError, match="does not speak TLS at this port"):
        answer(address, rest, ServerAccess(ca=authority.ca), 60)


@pytest.mark.parametrize("transport", [GRPC, COLUMNS])
def test_headers_go_with_every_request(server, transport, tmp_path):
    (tmp_path / "token").write_text("s3cret-T0ken\n")
    headers = (bearer(str(tmp_path / "token")), parsed_header("X-Tenant:  video team "), ("Host", "models.example.org"))
    with connected(server, transport, access=ServerAccess(headers=headers)) as client:
        client.predict([b"abc"])
    assert len(server.headers) == 2
    for sent in server.headers:
        assert sent["authorization"] == "Bearer s3cret-T0ken"
        assert sent["x-tenant"] == "video team"
        if transport == COLUMNS:  # in gRPC it is the authority of the request, which Python's server does not show here
            assert sent["host"] == "models.example.org"


@pytest.mark.parametrize("transport", [GRPC, COLUMNS])
@pytest.mark.parametrize("code", ["UNAUTHENTICATED", "PERMISSION_DENIED"])
def test_a_server_that_refuses_access(server, transport, code):
    with connected(server, transport) as client:
        server.faults = [refuse(code, "no token")]
        with pytest.raises(PredictionError, match=f"refuses access with {code}: no token.*give --token-file"):
            client.metadata()
    assert len(server.requests) == 1


def test_the_flags_of_the_commands(server, authority, pair, tmp_path):
    (tmp_path / "token").write_text("abc")
    with encrypted(server, True, pair) as address:
        words = ["predict", "x.mp4", "--server", address, "--rest", "--tls-ca", authority.ca]
        words += ["--header", "X-Tenant: a:b", "--token-file", str(tmp_path / "token")]
        with connect(cli.make_parser().parse_args(words)) as client:
            assert client.metadata().version == 7
    assert server.headers[0]["x-tenant"] == "a:b" and server.headers[0]["authorization"] == "Bearer abc"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda f: ServerAccess(ca=f"{f}/none"), r"--tls-ca: .*none cannot be read \(No such file"),
        (lambda f: ServerAccess(ca=f"{f}/text"), r"--tls-ca: .*text cannot be used .*expected PEM"),
        (lambda f: ServerAccess(certificate=f"{f}/text"), "--tls-cert and --tls-key go together"),
        (
            lambda f: ServerAccess(certificate=f"{f}/text", key=f"{f}/text"),
            r"--tls-cert and --tls-key: .*cannot be used",
        ),
        (lambda f: ServerAccess(headers=(("a b", "c"),)), "a name has letters"),
        (lambda f: ServerAccess(headers=(("data-bin", "c"),)), "does not end in -bin"),
        (lambda f: ServerAccess(headers=(("Content-Length", "5"),)), "belongs to the protocol"),
        (lambda f: ServerAccess(headers=(("x", "secret\r\nHost: y"),)), "--header x: its value has characters"),
        (lambda f: parsed_header("Authorization=Bearer x"), "'Authorization' has no colon"),
        (lambda f: bearer(f"{f}/none"), "--token-file .*none cannot be read"),
        (lambda f: bearer(f"{f}/empty"), "holds no token"),
        (lambda f: PredictionClient("http://x:1", rest=True, access=ServerAccess(tls=True)), "write https://"),
        (lambda f: PredictionClient("https://x:1"), "--tls for https"),
    ],
)
def test_access_that_makes_no_sense(tmp_path, make, message):
    """One line, and no secret in it."""
    (tmp_path / "text").write_text("no certificate")
    (tmp_path / "empty").write_text(" \n")
    with pytest.raises(PemtError, match=message) as raised:
        make(str(tmp_path))
    assert "secret" not in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize("transport", [GRPC, COLUMNS])
def test_readiness(server, transport):
    """The health check where there is one, and the state of the version that is asked for."""
    for health, loading, ready in (
        (None, set(), True),
        (None, {7}, False),
        (b"\x08\x01", set(), True),
        (b"\x08\x01", {7}, False),
        (b"\x08\x02", set(), transport == COLUMNS),  # REST has no health check
    ):
        server.health, server.loading = health, loading
        with connected(server, transport, version=7) as client:
            assert client.is_ready() is ready, (health, loading)

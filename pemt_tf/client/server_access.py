"""A client's access to a server: TLS, certificates, and headers or a token, for both protocols."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass
from pathlib import Path

from pemt_tf.errors import PemtError

_NAME = re.compile(r"[0-9A-Za-z_.-]+")
_VALUE = re.compile(r"[\x20-\x7e]*")
_OURS = {"content-type", "content-length", "transfer-encoding", "connection", "accept", "te", "user-agent"}
HOST = "host"


@dataclass(frozen=True)
class ServerAccess:
    """What a client shows to a server.

    Attributes:
        tls: encrypt the connection; each of the three files implies it.
        ca: PEM file of trusted authorities, instead of the system's.
        certificate: PEM file of the client's own certificate.
        key: PEM file of its private key.
        headers: name and value pairs, sent with each request. `host` names the server behind a shared gateway.

    Raises:
        PemtError: a file cannot be read or is not PEM, or a header cannot be sent.
    """

    tls: bool = False
    ca: str | None = None
    certificate: str | None = None
    key: str | None = None
    headers: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise PemtError("--tls-cert and --tls-key go together: a certificate and its private key")
        for name, value in self.headers:
            _check_header(name, value)
        if self.encrypted:
            self.ssl_context()

    @property
    def encrypted(self) -> bool:
        """Whether TLS is used."""
        return self.tls or self.ca is not None or self.certificate is not None

    def ssl_context(self) -> ssl.SSLContext:
        """The context for Python's `ssl`."""
        context = ssl.create_default_context()
        if self.ca is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # trusts no other authority
            _load("--tls-ca", self.ca, lambda: context.load_verify_locations(self.ca))
        if (certificate := self.certificate) is not None:
            files = f"{certificate} and {self.key}"
            _load("--tls-cert and --tls-key", files, lambda: context.load_cert_chain(certificate, self.key, ""))
        return context

    def pem(self) -> tuple[bytes | None, bytes | None, bytes | None]:
        """Authorities, private key and certificate, as gRPC takes them.

        gRPC has its own list of authorities, which is used only if the system's cannot be listed.
        """
        files = (self.ca, self.key, self.certificate)
        ca, key, certificate = (Path(file).read_bytes() if file is not None else None for file in files)
        if ca is None:
            ca = "".join(map(ssl.DER_cert_to_PEM_cert, self.ssl_context().get_ca_certs(True))).encode() or None
        return ca, key, certificate


def bearer(token_file: str) -> tuple[str, str]:
    """The header with the token in a file."""
    try:
        token = Path(token_file).read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        raise PemtError(f"--token-file {token_file} cannot be read ({error})") from None
    if not token or len(token.split()) > 1:
        raise PemtError(f"--token-file {token_file} holds no token; expected one word")
    return "authorization", f"Bearer {token}"


def parsed_header(text: str) -> tuple[str, str]:
    """`NAME: VALUE` as typed."""
    name, colon, value = text.partition(":")
    if not colon:
        raise PemtError(f"--header {name.split('=')[0]!r} has no colon; write --header 'NAME: VALUE'")
    return name.strip(), value.strip()


def _check_header(name: str, value: str) -> None:
    """Never shows the value, which may be a secret."""
    small = name.lower()
    if not _NAME.fullmatch(name) or small.endswith("-bin"):
        raise PemtError(f"--header {name!r}: a name has letters, digits, '-', '_' and '.', and does not end in -bin")
    if small in _OURS or small.startswith("grpc-"):
        raise PemtError(f"--header {name}: this header belongs to the protocol and cannot be set")
    if not _VALUE.fullmatch(value):
        raise PemtError(f"--header {name}: its value has characters other than printable ASCII")


def _load(flag: str, files: str, load) -> None:
    try:
        load()
    except ssl.SSLError as error:
        raise PemtError(f"{flag}: {files} cannot be used ({error.reason or error}); expected PEM files") from None
    except OSError as error:
        raise PemtError(f"{flag}: {files} cannot be read ({error.strerror})") from None

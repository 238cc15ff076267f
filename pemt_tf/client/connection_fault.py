"""Connection faults that waiting does not fix: the wrong protocol, TLS on one side only, an unknown host name."""

from __future__ import annotations

# Parts of messages of gRPC, http.client and ssl, in lower case, and what they mean. Seen with grpcio 1.60 to
# 1.85 and with Python 3.10 to 3.13.
_FAULTS = (
    (
        ("http1", "failed parsing http/2", "alpn"),
        "speaks HTTP/1, so it is not a gRPC port; give --rest, or the gRPC port (usually 8500)",
    ),
    (
        ("wrong_version_number", "wrong version number", "record layer failure"),
        "does not speak TLS at this port; leave out --tls, or write http:// instead of https://",
    ),
    (
        ("certificate_verify_failed", "certificate verify failed", "certificate_unknown", "unknown_ca"),
        "has a certificate that cannot be trusted; give the file of its authority (--tls-ca) and a host name in the "
        "certificate",
    ),
    (
        ("not in peer certificate", "hostname mismatch", "hostname verification"),
        "has a certificate for another name; write the host name in the certificate",
    ),
    (
        ("certificate_required", "certificate required", "handshake_failure", "handshake failure"),
        "requires a client certificate; give --tls-cert and --tls-key",
    ),
    (
        ("domain name not found", "name or service not known", "nodename nor servname", "no address associated"),
        "has an unknown host name; check the spelling in --server",
    ),
)
_SETTINGS_FRAME = 4  # type of an HTTP/2 server's first frame, in byte 3
_TLS_ALERT = "\x15\x03"


def connection_fault(message: str) -> str | None:
    """The lasting fault that a message of gRPC or the network shows, worded to follow the server's name, or None."""
    small = message.lower()
    return next((meaning for signs, meaning in _FAULTS if any(sign in small for sign in signs)), None)


def strange_status_line(line: str) -> str | None:
    """The same for what came instead of an HTTP status line; the line has a character for each byte."""
    if len(line) > _SETTINGS_FRAME and line.startswith("\0\0") and ord(line[3]) == _SETTINGS_FRAME:
        return "speaks HTTP/2, so it is a gRPC port; leave out --rest, or give the REST port (usually 8501)"
    if line.startswith(_TLS_ALERT):
        return "requires TLS; give --tls, or write https:// before the host"
    return None

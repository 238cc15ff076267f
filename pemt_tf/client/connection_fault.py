"""Faults of a connection that waiting does not mend: the wrong protocol, TLS on one side only, a name nobody knows."""

from __future__ import annotations

# What gRPC, Python's http.client and its ssl module say, in small letters, and what it means. Seen with grpcio 1.60 to
# 1.85 and with Python 3.10 to 3.13.
_FAULTS = (
    (
        ("http1", "failed parsing http/2", "alpn"),
        "answers in HTTP/1, so it is no gRPC port; give --rest, or the gRPC port (usually 8500)",
    ),
    (
        ("wrong_version_number", "wrong version number", "record layer failure"),
        "speaks no TLS at this port; leave out --tls, or write http:// in the place of https://",
    ),
    (
        ("certificate_verify_failed", "certificate verify failed", "certificate_unknown", "unknown_ca"),
        "has a certificate that cannot be trusted; give the file of its authority (--tls-ca), and a host name that the "
        "certificate has",
    ),
    (
        ("not in peer certificate", "hostname mismatch", "hostname verification"),
        "has a certificate of another name; write the host name that the certificate has",
    ),
    (
        ("certificate_required", "certificate required", "handshake_failure", "handshake failure"),
        "wants a certificate of the client; give --tls-cert and --tls-key",
    ),
    (
        ("domain name not found", "name or service not known", "nodename nor servname", "no address associated"),
        "has a host name that nobody knows; check the spelling in --server",
    ),
)
_SETTINGS_FRAME = 4  # the type, in byte 3, of what an HTTP/2 server says first
_TLS_ALERT = "\x15\x03"


def connection_fault(message: str) -> str | None:
    """What is wrong for good, as the rest of a sentence about the server; None if it may only not be there yet.

    Args:
        message: what gRPC or the network said.
    """
    small = message.lower()
    return next((meaning for signs, meaning in _FAULTS if any(sign in small for sign in signs)), None)


def strange_status_line(line: str) -> str | None:
    """The same for what came in the place of an HTTP status line.

    Args:
        line: the line, a character for each byte.
    """
    if len(line) > _SETTINGS_FRAME and line.startswith("\0\0") and ord(line[3]) == _SETTINGS_FRAME:
        return "answers in HTTP/2, so it is a gRPC port; leave out --rest, or give the REST port (usually 8501)"
    if line.startswith(_TLS_ALERT):
        return "wants TLS; give --tls, or write https:// before the host"
    return None
